"""AUC of a single column, from counts of its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

_SCORE_BINS = 1 << 14


def auc_of_bins(positives: npt.NDArray[Any], negatives: npt.NDArray[Any]) -> float:
    """Return the AUC of bins in ascending order of their score, in which rows of one bin are tied; both counts (B,).

    >>> auc_of_bins(np.array([0, 1, 3]), np.array([2, 1, 0]))
    0.9583333333333334
    """
    below = np.cumsum(negatives) - negatives
    pairs = float(positives.sum()) * float(negatives.sum())
    return float((positives * (below + negatives / 2)).sum() / pairs) if pairs else 0.5


def target_means(positives: Counts, rows: Counts) -> npt.NDArray[np.float64]:
    """Return the out-of-fold target mean of each value in each fold (F, V).

    The mean of a value in a fold comes from the other folds, with one more row of the mean of all rows, so that a
    value without other rows has that mean.

    Parameters
    ----------
    positives, rows
        Positive rows and all rows of each value in each fold (F, V).
    """
    mean = positives.sum() / max(1, int(rows.sum()))
    return np.asarray((positives.sum(axis=0) - positives + mean) / (rows.sum(axis=0) - rows + 1))


def auc_of_target_means(positives: Counts, rows: Counts) -> float:
    """Return the AUC of the out-of-fold target mean as the only score; see `target_means`."""
    scores = BinnedScores()
    scores.add(target_means(positives, rows), positives, rows - positives)
    return scores.auc()


class BinnedScores:
    """Positive and negative rows by bins of their scores; bins are finer near 0, as most labels are rare."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, _SCORE_BINS))

    def add(self, scores: npt.NDArray[np.float64], positives: npt.NDArray[Any], negatives: npt.NDArray[Any]) -> None:
        """Count rows.

        Parameters
        ----------
        scores
            Scores in [0, 1], of any shape.
        positives, negatives
            Numbers of rows with each score, of the same shape.
        """
        bins = (np.sqrt(scores.ravel()) * (_SCORE_BINS - 1)).astype(np.int64)
        for counts, rows in zip(self._counts, (positives, negatives), strict=True):
            counts += np.bincount(bins, weights=rows.ravel(), minlength=_SCORE_BINS)

    def auc(self) -> float:
        """Return the AUC; scores of one bin are tied."""
        return auc_of_bins(*self._counts)
