"""AUC of a single column from counts of its values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.data.check.alone import BinnedScores, auc_of_bins, auc_of_target_means, target_means
from pfmsmtrec_flwr.data.check.counting import FOLDS, MEAN_BIN, NUMBER_BINS, ColumnCounter, LabelledBlock, number_bins
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL


def test_bins_of_numbers_are_in_their_order_and_zero_has_its_own() -> None:
    numbers = np.array([-3e38, -7, -1.01, -1, -1e-30, 0, 1e-30, 0.5, 1, 1.01, 80, 3e38], dtype=np.float32)
    bins = number_bins(numbers)
    assert (np.diff(bins) > 0).all()
    assert bins[5] == MEAN_BIN
    assert bins[0] >= 0
    assert bins[-1] < NUMBER_BINS


def test_the_auc_of_binned_numbers_is_that_of_the_numbers() -> None:
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=5000).astype(np.float32)
    labels = draw.random(5000) < 1 / (1 + np.exp(-2 * numbers))
    counted = [np.bincount(number_bins(numbers[labels == label]), minlength=NUMBER_BINS) for label in (True, False)]
    assert auc_of_bins(*counted) == pytest.approx(roc_auc_score(labels, numbers), abs=2e-4)


def test_one_class_has_the_auc_of_chance() -> None:
    assert auc_of_bins(np.array([3, 4]), np.array([0, 0])) == 0.5


def test_a_target_mean_comes_from_the_other_folds() -> None:
    positives, rows = np.array([[1, 0], [2, 0]]), np.array([[2, 1], [4, 1]])
    mean = 3 / 8
    expected = [[(2 + mean) / 5, mean / 2], [(1 + mean) / 3, mean / 2]]
    assert target_means(positives, rows) == pytest.approx(np.array(expected))


def test_a_value_of_its_own_for_each_row_says_nothing() -> None:
    rows = 3000
    labels = (np.arange(rows) % 3 == 0).astype(np.uint8)[:, None]
    counter = ColumnCounter(rows, 1, FOLDS)
    counter.add(np.arange(rows), LabelledBlock.of(0, 0, labels))
    counts = counter.counts()
    assert auc_of_target_means(counts.positives[0], counts.rows[0]) == pytest.approx(0.5)


def test_counts_of_blocks_are_those_of_all_rows() -> None:
    draw = np.random.default_rng(1)
    values = draw.integers(0, 7, 400)
    labels = draw.choice(np.array([0, 1, MISSING_LABEL], dtype=np.uint8), (400, 2))
    labels[:, 1] %= 2
    whole, parts = ColumnCounter(9, 2, FOLDS), ColumnCounter(9, 2, FOLDS)
    whole.add(values, LabelledBlock.of(2, 0, labels))
    for start, stop in ((0, 3), (3, 250), (250, 400)):
        parts.add(values[start:stop], LabelledBlock.of(2, start, labels[start:stop]))
    one, other = whole.counts(), parts.counts()
    for name in ("values", "by_split", "positives", "rows"):
        assert (getattr(one, name) == getattr(other, name)).all()
    assert one.values.tolist() == list(range(7))
    assert one.by_split.sum(axis=1).tolist() == [0, 0, 400]
    assert one.positives.sum(axis=(1, 2)).tolist() == (labels == 1).sum(axis=0).tolist()
    assert one.rows.sum(axis=(1, 2)).tolist() == (labels != MISSING_LABEL).sum(axis=0).tolist()


def test_scores_in_their_order_have_the_auc_of_one() -> None:
    scores = BinnedScores()
    scores.add(np.array([0.001, 0.002, 0.9, 1.0]), np.array([0, 0, 5, 1]), np.array([4, 7, 0, 0]))
    assert scores.auc() == 1.0
