"""The generator: known rates and probabilities, the same rows from the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import assert_same, small
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_info, threadpool_limits

from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.data.synthetic import generator
from pfmsmtrec_flwr.data.synthetic.generator import RowGenerator, generate
from pfmsmtrec_flwr.data.synthetic.layout import FIELDS, TASKS
from pfmsmtrec_flwr.data.synthetic.made_stores import ensure_synthetic
from pfmsmtrec_flwr.data.synthetic.settings import SyntheticSettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.training.evaluation import measure
from pfmsmtrec_flwr.validation import parse


@pytest.fixture(scope="module")
def large() -> dict[str, Split]:
    return generate(small(train_rows={"NL": 40_000}, validation_rows=5000, test_rows=400_000, ctr=0.05), "NL")


def test_shapes_and_types() -> None:
    splits = generate(small(), "US")
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 1000, "validation": 500, "test": 1500}
    rows = splits["test"]
    assert rows.users is not None
    assert rows.probabilities is not None
    arrays = (rows.categorical, rows.numeric, rows.labels, rows.users, rows.probabilities)
    assert [(array.shape, array.dtype.name) for array in arrays] == [
        ((1500, 16), "int32"),
        ((1500, 63), "float32"),
        ((1500, 2), "uint8"),
        ((1500,), "int64"),
        ((1500, 2), "float32"),
    ]


def test_same_settings_same_rows_and_another_seed_other_rows() -> None:
    first, second = generate(small(), "NL"), generate(small(), "NL")
    other = generate(small(seed=1), "NL")
    for split in SPLITS:
        assert_same(first[split], second[split])
        assert not np.array_equal(first[split].labels, other[split].labels)


def test_chunks_are_drawn_from_different_seeds_and_a_longer_split_begins_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "_CHUNK", 500)
    short, long = generate(small(test_rows=1000), "US")["test"], generate(small(test_rows=1500), "US")["test"]
    np.testing.assert_array_equal(short.numeric, long.numeric[:1000])
    assert not np.array_equal(long.numeric[:500], long.numeric[500:1000])
    assert long.users is not None
    assert (np.diff(long.users) >= 0).all()
    assert long.users[499] != long.users[500]


def test_a_scenario_does_not_depend_on_the_others() -> None:
    together = generate(small(), "US")
    without = generate(small(train_rows={"US": 1000, "XX": 50, "AA": 70}), "US")
    for split in SPLITS:
        assert_same(together[split], without[split])


def test_splits_share_no_user_and_users_have_10_to_20_rows(large: dict[str, Split]) -> None:
    users = [np.unique(rows.users) for rows in large.values() if rows.users is not None]
    assert len(np.unique(np.concatenate(users))) == sum(len(each) for each in users)
    _, counts = np.unique(np.asarray(large["test"].users), return_counts=True)
    assert counts.max() == 20
    assert np.mean(counts < 10) < 0.001  # the last one of a chunk may be cut
    assert counts.mean() == pytest.approx(15, abs=0.1)


def test_fields_of_a_user_are_the_same_in_all_their_rows(large: dict[str, Split]) -> None:
    rows = large["test"]
    assert rows.users is not None
    same_user = rows.users[1:] == rows.users[:-1]
    changes = (rows.categorical[1:] != rows.categorical[:-1])[same_user].mean(axis=0)
    of_user = [layout.of_user for layout in FIELDS]
    np.testing.assert_array_equal(changes == 0, of_user)


def test_a_conversion_implies_a_click(large: dict[str, Split]) -> None:
    for rows in large.values():
        assert rows.probabilities is not None
        assert (rows.labels[:, 1] <= rows.labels[:, 0]).all()
        assert (rows.probabilities[:, 1] < rows.probabilities[:, 0]).all()
        assert rows.labels[:, 1].any()


def test_base_rates_are_those_of_the_settings(large: dict[str, Split]) -> None:
    np.testing.assert_allclose(large["test"].labels.mean(axis=0), [0.05, 0.005], rtol=0.08)


def test_true_probabilities_are_calibrated(large: dict[str, Split]) -> None:
    rows = large["test"]
    assert rows.probabilities is not None
    for task in range(2):
        truth = rows.probabilities[:, task].astype(np.float64)
        for part in np.array_split(np.argsort(truth), 8):
            error = np.sqrt(np.sum(truth[part] * (1 - truth[part])))
            assert abs(rows.labels[part, task].sum() - truth[part].sum()) < 4.5 * error


def test_numeric_columns_are_standardised_with_the_training_rows(large: dict[str, Split]) -> None:
    train, test = large["train"].numeric.astype(np.float64), large["test"].numeric.astype(np.float64)
    constant = (train == 0).all(axis=0)
    assert np.flatnonzero(constant).tolist() == [57, 58, 59]  # constant in the real files too
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(train[:, ~constant].std(axis=0), 1, atol=1e-4)
    assert not np.allclose(test.mean(axis=0), 0, atol=1e-4)


def test_training_rows_do_not_depend_on_the_other_splits() -> None:
    assert_same(generate(small(), "NL")["train"], generate(small(test_rows=20, validation_rows=10), "NL")["train"])


def test_the_truth_beats_a_linear_model(large: dict[str, Split]) -> None:
    train, test = large["train"], large["test"]
    assert test.probabilities is not None

    def inputs(rows: Split) -> np.ndarray[Any, Any]:
        one_hot = [np.eye(52, dtype=np.float32)[rows.categorical[:50_000, column]] for column in range(16)]
        return np.concatenate([*one_hot, rows.numeric[:50_000]], axis=1)

    linear = LogisticRegression(C=0.05, max_iter=300, tol=1e-3).fit(inputs(train), train.labels[:50_000, 0])
    labels = test.labels[:50_000, 0]
    reached = roc_auc_score(labels, linear.predict_proba(inputs(test))[:, 1])
    best = roc_auc_score(labels, test.probabilities[:50_000, 0])
    assert 0.6 < reached < best - 0.02


def test_without_signal_labels_are_pure_chance() -> None:
    rows = generate(small(click_signal=0, conversion_signal=0), "NL")["test"]
    assert rows.probabilities is not None
    np.testing.assert_allclose(rows.probabilities, np.broadcast_to([0.2, 0.02], (1500, 2)), rtol=1e-4)


def test_best_attainable_is_the_auc_of_the_true_probabilities() -> None:
    rows = generate(small(), "NL")["test"]
    assert rows.probabilities is not None
    labels, truth = rows.labels[:, 0].astype(bool), rows.probabilities[:, 0].astype(np.float64)
    pairs = truth[labels][:, None] - truth[~labels][None, :]
    best = measure(rows.probabilities, rows, TASKS)
    assert list(best) == ["ctr", "ctcvr"]
    assert best["ctr"].auc == pytest.approx(np.mean(pairs > 0) + np.mean(pairs == 0) / 2, abs=1e-12)
    assert best["ctr"].logloss == pytest.approx(-np.mean(np.log(np.where(labels, truth, 1 - truth))), abs=1e-9)
    validation = generate(small(), "NL")["validation"]
    assert validation.probabilities is not None
    assert measure(validation.probabilities, validation, TASKS)["ctr"].auc != best["ctr"].auc


def test_best_attainable_of_one_class_is_none() -> None:
    settings = small(validation_rows=10, conversions_per_click=0.02)
    rows = generate(settings, "NL")["validation"]
    assert rows.probabilities is not None
    best = measure(rows.probabilities, rows, TASKS)
    assert best["ctcvr"].auc is None
    assert 0 < best["ctcvr"].logloss < 0.2


def test_default_settings_are_in_the_range_that_is_promised() -> None:
    settings = parse(SyntheticSettings, {}, "test")
    assert settings.scenarios == ("ES", "FR", "NL", "US")
    assert 40_000 <= sum(settings.train_rows.values()) <= 90_000
    tests = [generate(settings, name)["test"] for name in settings.scenarios]
    best = [measure(rows.probabilities, rows, TASKS) for rows in tests if rows.probabilities is not None]
    assert len(best) == 4
    for task, low, high in (("ctr", 0.75, 0.83), ("ctcvr", 0.80, 0.89)):
        mean = np.mean([each[task].auc for each in best])
        assert low < mean < high


def test_an_unknown_scenario_is_reported() -> None:
    with pytest.raises(UserError, match="'DE'"):
        generate(small(), "DE")


def test_rows_are_made_by_one_thread_whatever_the_caller_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = RowGenerator.chunks

    def chunks(maker: Any, split: str) -> Any:
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return original(maker, split)

    monkeypatch.setattr(RowGenerator, "chunks", chunks)
    settings = SyntheticSettings(train_rows={"NL": 500}, validation_rows=200, test_rows=200, ctr=0.3)
    with threadpool_limits(limits=2):
        generate(settings, "NL")
        ensure_synthetic(settings, "NL", tmp_path)
    assert seen
    assert set(seen) == {1}
