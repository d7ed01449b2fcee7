"""Metrics against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from pfmsmtrec_flwr.data.store.manifest import NO_USER
from pfmsmtrec_flwr.training import metrics as metrics_module
from pfmsmtrec_flwr.training.metrics import CLIP, GroupedAuc, flat_figures, grouped_auc, mean_log_loss, task_metrics


def labels(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8)


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_figures_by_hand() -> None:
    metrics = task_metrics(labels(0, 1, 1, 0), scores(0.25, 0.5, 0.25, 0.125))
    assert metrics.auc == pytest.approx(3.5 / 4)  # one of the four pairs is a tie
    expected = -(math.log(0.75) + math.log(0.5) + math.log(0.25) + math.log(0.875)) / 4
    assert metrics.logloss == pytest.approx(expected)
    assert (metrics.gauc, metrics.positives, metrics.examples) == (None, 2, 4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_figures_equal_scikit_learns(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.permutation(np.arange(40) % 3 == 0).astype(np.uint8)
    predicted = generator.integers(1, 10, 40) / 10
    metrics = task_metrics(truth, predicted)
    assert metrics.auc == pytest.approx(roc_auc_score(truth, predicted))
    assert metrics.logloss == pytest.approx(log_loss(truth, predicted))


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_has_no_auc(value: int) -> None:
    metrics = task_metrics(labels(value, value), scores(0.25, 0.5), np.array([1, 1]))
    assert metrics.auc is None
    assert metrics.gauc is None
    assert metrics.positives == 2 * value
    chances = (0.25, 0.5) if value else (0.75, 0.5)
    assert metrics.logloss == pytest.approx(-sum(map(math.log, chances)) / 2)


def test_certain_and_wrong_stays_finite() -> None:
    assert task_metrics(labels(1, 0), scores(0.0, 1.0)).logloss == pytest.approx(-math.log(1e-7), rel=1e-6)


def test_more_than_255_positives_are_counted() -> None:
    truth = np.ones(1000, dtype=np.uint8)
    truth[0] = 0
    assert task_metrics(truth, np.linspace(0, 1, 1000)).positives == 999


def test_grouped_auc_by_hand() -> None:
    # User 5: positive above one of two negatives and level with the other, (1 + 1/2) / 2 with 3 rows; user 9: a pair in
    # the wrong order, 0 with 2 rows; users 1 and 2 have one class only.
    users = np.array([5, 9, 5, 1, 5, 9, 2])
    truth = labels(1, 1, 0, 1, 0, 0, 0)
    predicted = scores(0.5, 0.1, 0.5, 0.9, 0.2, 0.8, 0.7)
    assert grouped_auc(truth, predicted, users).auc == pytest.approx(0.75 * 3 / 5)
    assert task_metrics(truth, predicted, users).gauc == pytest.approx(0.75 * 3 / 5)


def test_one_user_has_the_plain_auc() -> None:
    truth, predicted = labels(0, 1, 1, 0, 1), scores(0.3, 0.3, 0.9, 0.4, 0.1)
    grouped = grouped_auc(truth, predicted, np.zeros(5, dtype=np.int64))
    assert grouped.auc == pytest.approx(roc_auc_score(truth, predicted))
    assert grouped.coverage == 1


def test_no_user_with_both_classes() -> None:
    assert grouped_auc(labels(0, 1), scores(0.1, 0.9), np.array([1, 2])) == GroupedAuc(None, 0.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_grouped_auc_equals_a_loop_over_users(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = (generator.random(60) < 0.4).astype(np.uint8)
    predicted, users = generator.integers(0, 6, 60) / 6, generator.integers(-3, 9, 60)
    parts = []
    for user in np.unique(users[users != NO_USER]):
        mine = users == user
        if 0 < truth[mine].sum() < mine.sum():
            parts.append((mine.sum(), roc_auc_score(truth[mine], predicted[mine])))
    rows, areas = zip(*parts, strict=True)
    grouped = grouped_auc(truth, predicted, users)
    assert grouped.auc == pytest.approx(np.average(areas, weights=rows))
    assert grouped.coverage == pytest.approx(sum(rows) / len(truth))


def test_rows_without_a_user_are_no_user() -> None:
    labels, scores = np.array([0, 1, 1, 0], np.uint8), np.array([0.2, 0.4, 0.1, 0.5])
    found = grouped_auc(labels, scores, np.array([3, 3, NO_USER, NO_USER]))
    assert (found.auc, found.coverage) == (1.0, 0.5)
    alone = grouped_auc(labels, scores, np.full(4, NO_USER))
    assert (alone.auc, alone.coverage) == (None, 0.0)


def test_flat_figures_leave_out_what_is_not_defined() -> None:
    metrics = task_metrics(labels(0, 0), scores(0.5, 0.5))
    assert flat_figures({"ctr": metrics}, "best.") == {
        "best.logloss.ctr": pytest.approx(math.log(2)),
        "best.positives.ctr": 0.0,
        "best.examples.ctr": 2.0,
    }
    assert flat_figures({"a": metrics, "b": metrics}).keys() == {
        f"{figure}.{task}" for figure in ("logloss", "positives", "examples") for task in "ab"
    }
    assert flat_figures({"a": metrics}, only={"auc", "logloss"}).keys() == {"logloss.a"}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_the_log_loss_is_scikit_learns_to_the_bit(rows: int, seed: int, kind: type[np.floating]) -> None:
    generator = np.random.default_rng(seed)
    truth = (generator.random(rows) < 0.3).astype(np.uint8)
    predicted = generator.choice([0.0, 1.0, 1e-9, 0.25, *generator.random(rows)], rows).astype(kind)
    clipped = np.clip(predicted.astype(np.float64), CLIP, 1 - CLIP)
    assert mean_log_loss(truth, predicted) == log_loss(truth, clipped, labels=[0, 1])


def test_a_log_loss_of_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        mean_log_loss(labels(0, 1), scores(0.5, math.nan))


def test_the_log_loss_of_many_rows_is_that_of_their_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 2, 1000).astype(np.uint8), generator.random(1000)
    whole = mean_log_loss(truth, predicted)
    for piece in (1, 30, 999):
        monkeypatch.setattr(metrics_module, "PIECE", piece)
        assert mean_log_loss(truth, predicted) == pytest.approx(whole, rel=1e-13)


def test_no_rows_have_no_log_loss() -> None:
    with pytest.raises(ValueError, match="no rows"):
        mean_log_loss(labels(), scores())
