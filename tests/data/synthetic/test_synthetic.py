from __future__ import annotations

import re
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_info, threadpool_limits

from pfmsmtrec_flwr.data.store.listing import list_scenarios
from pfmsmtrec_flwr.data.store.manifest import SPLITS, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.data.store.writer import StoreWriter
from pfmsmtrec_flwr.data.synthetic import synthetic
from pfmsmtrec_flwr.data.synthetic.synthetic import (
    SyntheticSettings,
    best_attainable,
    ensure_synthetic,
    generate,
    raw_impressions,
    synthetic_dataset_name,
    true_logits,
)
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse

CONFLICTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def small(**changes: Any) -> SyntheticSettings:
    document: dict[str, Any] = {
        "train_rows": {"NL": 3000, "US": 1000},
        "validation_rows": 500,
        "test_rows": 1500,
        "ctr": 0.2,
    }
    return parse(SyntheticSettings, document | changes, "test")


def assert_same(first: Split, second: Split) -> None:
    for name in ("categorical", "numeric", "labels", "users", "probabilities"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


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
    monkeypatch.setattr(synthetic, "_CHUNK", 500)
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
    of_user = [layout.of_user for layout in synthetic._LAYOUT]
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


def test_raw_columns_have_the_zeros_and_ones_of_the_real_files() -> None:
    categorical, numeric = raw_impressions(small(), "NL", 20_000)
    assert 0 <= numeric.min() <= numeric.max() <= 1
    zeros = (numeric == 0).mean(axis=0)
    np.testing.assert_allclose(zeros, np.array(synthetic._ZEROS) / 100, atol=0.3)
    assert (numeric[:, 0] == 1).mean() == pytest.approx(0.38, abs=0.25)
    sizes = np.array([field.values for field in synthetic._LAYOUT])
    np.testing.assert_array_equal(categorical.min(axis=0), 1)
    np.testing.assert_array_equal(categorical.max(axis=0), sizes)


def test_scenarios_have_different_distributions() -> None:
    first, second = (raw_impressions(small(), name, 20_000) for name in ("NL", "US"))
    assert np.abs(first[1].mean(axis=0) - second[1].mean(axis=0)).max() > 0.05
    shares = [np.bincount(categorical[:, 6], minlength=51) / 20_000 for categorical, _ in (first, second)]
    assert np.abs(shares[0] - shares[1]).sum() > 0.2


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


@pytest.mark.parametrize(("other", "factor"), [("US", 0.5), ("ES", 1.5)])
def test_conflict_of_scenarios_lowers_the_correlation_of_their_truths(other: str, factor: float) -> None:
    assert (synthetic._side("NL") == synthetic._side(other)) == (factor == 0.5)
    found = []
    for conflict in CONFLICTS:
        settings = small(train_rows={"NL": 1000, other: 1000}, scenario_conflict=conflict)
        inputs = raw_impressions(settings, "NL", 20_000)
        first, second = (true_logits(settings, name, *inputs) for name in ("NL", other))
        found.append([np.corrcoef(first[:, task], second[:, task])[0, 1] for task in range(2)])
    correlations = np.array(found)
    np.testing.assert_allclose(correlations[0], 1, atol=1e-5)
    assert (np.diff(correlations, axis=0) < -0.02).all()
    expected = 1 - factor * np.array(CONFLICTS)
    np.testing.assert_allclose(correlations[:, 0], expected, atol=0.2)  # exact on the reference impressions


def test_conflict_of_tasks_lowers_the_correlation_of_click_and_conversion() -> None:
    correlations = []
    for conflict in CONFLICTS:
        settings = small(task_conflict=conflict)
        logits = true_logits(settings, "NL", *raw_impressions(settings, "NL", 20_000))
        correlations.append(np.corrcoef(logits.T)[0, 1])
    assert correlations[0] == pytest.approx(1, abs=1e-5)
    assert (np.diff(correlations) < -0.02).all()
    assert correlations[-1] < 0


def test_readouts_correlate_as_documented_on_the_reference_impressions() -> None:
    settings = small(scenario_conflict=0.4, task_conflict=0.2)
    world = synthetic._World.of(0)
    readouts = [synthetic._readouts(world, settings, name) for name in ("NL", "ES")]
    both = np.concatenate(readouts, axis=1)
    correlation = both.T @ world.covariance @ both
    np.testing.assert_allclose(np.diag(correlation), 1, atol=1e-6)
    assert correlation[0, 1] == pytest.approx(1 - 1.5 * 0.2, abs=1e-6)  # click and conversion of NL
    assert correlation[0, 2] == pytest.approx(1 - 1.5 * 0.4, abs=0.15)  # own parts are drawn apart, not orthogonal


def test_without_signal_labels_are_pure_chance() -> None:
    rows = generate(small(click_signal=0, conversion_signal=0), "NL")["test"]
    assert rows.probabilities is not None
    np.testing.assert_allclose(rows.probabilities, np.broadcast_to([0.2, 0.02], (1500, 2)), rtol=1e-4)


def test_store_holds_what_generate_gives(tmp_path: Path) -> None:
    settings = small()
    store = ensure_synthetic(settings, "NL", tmp_path)
    rows = generate(settings, "NL")
    assert store.path == tmp_path / synthetic_dataset_name(settings) / "NL"
    for split in SPLITS:
        assert_same(store.splits[split], rows[split])
    assert store.tasks == ("ctr", "ctcvr")
    assert store.fields[0] == Field("categorical_1", 11, True)
    assert [field.name for field in store.fields if not field.federated] == ["categorical_8", "categorical_9"]
    assert store.numeric[0] == "numerical_1"
    assert len(store.numeric) == 63
    assert ScenarioStore.open(store.path, verify=True).extra["synthetic"] == settings.model_dump(mode="json")


def test_stores_of_one_data_set_agree_and_are_listed(tmp_path: Path) -> None:
    settings = small()
    stores = [ensure_synthetic(settings, name, tmp_path) for name in ("US", "NL")]
    assert stores[0].schema_hash == stores[1].schema_hash
    assert [each.scenario for each in list_scenarios(tmp_path, synthetic_dataset_name(settings))] == ["NL", "US"]


def test_an_existing_store_is_opened_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_synthetic(small(), "NL", tmp_path)

    def fail(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(synthetic, "_write", fail)
    assert len(ensure_synthetic(small(), "NL", tmp_path).splits["train"]) == 3000


def test_a_damaged_store_is_made_again(tmp_path: Path) -> None:
    store = ensure_synthetic(small(), "NL", tmp_path)
    (store.folder / "test.labels.bin").write_bytes(b"")
    assert len(ensure_synthetic(small(), "NL", tmp_path).splits["test"]) == 1500


def _rows_made(root: Path) -> int:
    return len(ensure_synthetic(small(), "NL", root).splits["train"])


def test_processes_at_once_leave_one_whole_store(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_rows_made, [tmp_path] * 4)) == [3000] * 4
    store = ScenarioStore.open(tmp_path / synthetic_dataset_name(small()) / "NL", verify=True)
    assert [child.name for child in store.path.parent.iterdir()] == ["NL"]


def test_threads_at_once_leave_one_whole_store(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)
    made: list[int] = []

    def work() -> None:
        barrier.wait()
        made.append(_rows_made(tmp_path))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [3000] * 4
    store = ScenarioStore.open(tmp_path / synthetic_dataset_name(small()) / "NL", verify=True)
    assert [child.name for child in store.path.parent.iterdir()] == ["NL"]


def test_best_attainable_is_the_auc_of_the_true_probabilities(tmp_path: Path) -> None:
    store = ensure_synthetic(small(), "NL", tmp_path)
    rows = store.splits["test"]
    assert rows.probabilities is not None
    labels, truth = rows.labels[:, 0].astype(bool), rows.probabilities[:, 0].astype(np.float64)
    pairs = truth[labels][:, None] - truth[~labels][None, :]
    best = best_attainable(store)
    assert list(best) == ["ctr", "ctcvr"]
    assert best["ctr"].auc == pytest.approx(np.mean(pairs > 0) + np.mean(pairs == 0) / 2, abs=1e-12)
    assert best["ctr"].logloss == pytest.approx(-np.mean(np.log(np.where(labels, truth, 1 - truth))), abs=1e-9)
    assert best_attainable(store, "validation")["ctr"].auc != best["ctr"].auc


def test_best_attainable_of_one_class_is_none(tmp_path: Path) -> None:
    settings = small(validation_rows=10, conversions_per_click=0.02)
    best = best_attainable(ensure_synthetic(settings, "NL", tmp_path), "validation")
    assert best["ctcvr"].auc is None
    assert 0 < best["ctcvr"].logloss < 0.2


def test_best_attainable_needs_true_probabilities(tmp_path: Path) -> None:
    columns = {"fields": [Field("f", 2, True)], "numeric": [], "tasks": ["t"], "schema_hash": "h", "users": False}
    with StoreWriter(tmp_path / "d" / "s", dataset="d", scenario="s", **columns) as writer:
        store = writer.commit()
    with pytest.raises(UserError, match="no true probabilities"):
        best_attainable(store)


def test_default_settings_are_in_the_range_that_is_promised(tmp_path: Path) -> None:
    settings = parse(SyntheticSettings, {}, "test")
    assert settings.scenarios == ("ES", "FR", "NL", "US")
    assert 40_000 <= sum(settings.train_rows.values()) <= 90_000
    best = [best_attainable(ensure_synthetic(settings, name, tmp_path)) for name in settings.scenarios]
    for task, low, high in (("ctr", 0.75, 0.83), ("ctcvr", 0.80, 0.89)):
        mean = np.mean([each[task].auc for each in best])
        assert low < mean < high


def test_name_depends_on_the_settings_and_not_on_the_order_of_scenarios() -> None:
    first = small(train_rows={"NL": 3000, "US": 1000})
    assert re.fullmatch(r"synthetic-[0-9a-f]{8}", synthetic_dataset_name(first))
    assert synthetic_dataset_name(first) == synthetic_dataset_name(small(train_rows={"US": 1000, "NL": 3000}))
    others = [small(seed=1), small(train_rows={"NL": 3000}), small(ctr=0.1), small(scenario_conflict=1)]
    assert len({synthetic_dataset_name(each) for each in (first, *others)}) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario_conflict": 1.5}, "scenario_conflict.*1.5"),
        ({"scenario_conflict": "0.5"}, "scenario_conflict.*'0.5'"),
        ({"task_conflict": -0.1}, "task_conflict"),
        ({"train_rows": {}}, "train_rows"),
        ({"train_rows": {"NL": 0}}, "train_rows.NL"),
        ({"train_rows": {"NL": 10.5}}, "train_rows.NL"),
        ({"train_rows": {"../NL": 10}}, "'../NL' is no scenario name"),
        ({"train_rows": {".NL": 10}}, "'.NL' is no scenario name"),
        ({"test_rows": 0}, "test_rows"),
        ({"ctr": 0.0}, "ctr"),
        ({"ctr": {"NL": 0.1}}, "no rate for US"),
        ({"conversions_per_click": 1.0}, "conversions_per_click"),
        ({"click_signal": -1}, "click_signal"),
        ({"sed": 1}, "unknown key 'sed'; did you mean 'seed'"),
    ],
)
def test_bad_settings_are_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)


def test_an_unknown_scenario_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no made-up scenario 'DE': train_rows names NL, US"):
        ensure_synthetic(small(), "DE", tmp_path)
    with pytest.raises(UserError, match="'DE'"):
        generate(small(), "DE")


def test_a_task_with_one_class_in_training_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    settings = small(train_rows={"NL": 20}, ctr=0.01)
    with pytest.raises(UserError, match="scenario NL: 0 positives of ct"):
        ensure_synthetic(settings, "NL", tmp_path)
    assert list((tmp_path / synthetic_dataset_name(settings)).iterdir()) == []


def test_rows_are_made_by_one_thread_whatever_the_caller_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = synthetic._Maker.chunks

    def chunks(maker: Any, split: str) -> Any:
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return original(maker, split)

    monkeypatch.setattr(synthetic._Maker, "chunks", chunks)
    settings = SyntheticSettings(train_rows={"NL": 500}, validation_rows=200, test_rows=200, ctr=0.3)
    with threadpool_limits(limits=2):
        generate(settings, "NL")
        ensure_synthetic(settings, "NL", tmp_path)
    assert seen
    assert set(seen) == {1}
