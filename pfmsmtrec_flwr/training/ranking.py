"""The exact area under the ROC curve, over all rows and within groups of rows, by one sort of packed numbers each.

Group, score and label of a row fit one whole number, and sorting numbers is many times as fast as sorting their
positions, which scikit-learn does.

Examples
--------
>>> import numpy as np
>>> from pfmsmtrec_flwr.training.ranking import area_under_curve, grouped_areas
>>> labels, scores = np.array([0, 1, 0, 1], dtype=np.uint8), np.array([0.1, 0.3, 0.4, 0.4], dtype=np.float32)
>>> area_under_curve(labels, scores)
0.625
>>> grouped_areas(labels, scores, np.array([7, 7, 9, 9])).areas.tolist()
[1.0, 0.5]
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SCORE_BITS = 32
"""Bits that the order of a score takes."""
GROUP_BITS = 31
"""Bits that the order of a group takes; one is left for the label."""
PIECE = 1 << 20
"""Rows that are counted at once, or more where a group is larger."""

_Whole = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class GroupedAreas:
    """Areas within the groups that have rows of both classes, in ascending order of the groups.

    Attributes
    ----------
    areas
        Area under the ROC curve of each group (G,).
    rows
        Number of rows of each group (G,).
    """

    areas: NDArray[np.float64]
    rows: NDArray[np.int64]


def area_under_curve(labels: NDArray[np.uint8], scores: NDArray[np.floating]) -> float:
    """Return the area under the ROC curve of scores (n,) for 0/1 labels (n,), with rows of both classes.

    The value is scikit-learn's to the last bit: the corners of the curve are the same, and so is the sum over them.

    Raises
    ------
    ValueError
        A score is not finite.
    """
    from sklearn.metrics import auc

    packed = _packed(labels, scores)
    packed.sort()
    packed = packed[::-1]
    true = np.cumsum(packed & np.uint64(1), dtype=np.int64)
    packed >>= np.uint64(1)
    ends = _ends(packed)
    del packed  # the largest arrays go as soon as they are read
    true = true[ends]
    false = 1 + ends - true
    if len(ends) > 2:  # points on a straight line are left out, as scikit-learn does
        corners = np.concatenate([[True], (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0), [True]])
        true, false = true[corners], false[corners]
    rates = [np.concatenate([[0.0], count]) / float(count[-1]) for count in (false, true)]
    return float(auc(*rates))


def grouped_areas(labels: NDArray[np.uint8], scores: NDArray[np.floating], groups: NDArray[np.int64]) -> GroupedAreas:
    """Return the area under the ROC curve within each group of rows, of the groups with rows of both classes.

    Parameters
    ----------
    labels
        Labels, 0 or 1, (n,).
    scores
        Scores (n,).
    groups
        Group of each row (n,).

    Raises
    ------
    ValueError
        A score is not finite.
    """
    if not len(labels):
        return GroupedAreas(np.empty(0), np.empty(0, dtype=np.int64))
    packed = _packed(labels, scores)
    packed |= _order_of_groups(groups) << np.uint64(SCORE_BITS + 1)
    packed.sort()
    bounds = np.concatenate([[0], _ends(packed >> np.uint64(SCORE_BITS + 1)) + 1])  # where the groups begin and end
    cuts = np.unique(np.searchsorted(bounds, [*range(0, len(packed), PIECE), len(packed)]))  # whole groups
    counted = [
        _count(packed[bounds[first] : bounds[last]], bounds[first:last] - bounds[first])
        for first, last in pairwise(cuts)
    ]
    twice_won, positives = (np.concatenate(each) for each in zip(*counted, strict=True))
    rows = np.diff(bounds)
    both = (positives > 0) & (positives < rows)
    positives, rows = positives[both], rows[both]
    return GroupedAreas(twice_won[both] / 2 / (positives * (rows - positives)), rows)


def _count(packed: _Whole, starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return twice the pairs that are in order, equal scores counting half, and the positives, of each group.

    Parameters
    ----------
    packed
        Whole groups of sorted rows (n,).
    starts
        Where the groups begin (G,).
    """
    label = (packed & np.uint64(1)).view(np.int64)
    ties = np.concatenate([[0], _ends(packed >> np.uint64(1))[:-1] + 1])  # where runs of equal scores begin
    positives = np.add.reduceat(label, ties)
    negatives = np.diff(ties, append=len(packed)) - positives
    below = np.cumsum(negatives) - negatives  # negatives before each run, those of other groups included
    runs = np.searchsorted(ties, starts)
    of_groups = np.add.reduceat(positives, runs)
    twice_won = np.add.reduceat(positives * (2 * below + negatives), runs)
    return twice_won - 2 * below[runs] * of_groups, of_groups


def _packed(labels: NDArray[np.uint8], scores: NDArray[np.floating]) -> _Whole:
    """Return numbers (n,) that sort as the scores do, with the label for their last bit."""
    if not np.isfinite(scores).all():
        raise ValueError("scores are not finite")
    packed = _order_of_scores(scores).astype(np.uint64)
    packed <<= np.uint64(1)
    packed |= labels
    return packed


def _order_of_scores(scores: NDArray[np.floating]) -> NDArray[np.uint32]:
    """Return 32-bit numbers that sort as the scores do."""
    if scores.dtype != np.float32:
        places: NDArray[np.uint32] = np.unique(scores, return_inverse=True)[1].astype(np.uint32)
        return places
    bits: NDArray[np.uint32] = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    turned: NDArray[np.uint32] = bits ^ np.where(bits >> np.uint32(31), np.uint32(0xFFFFFFFF), np.uint32(1 << 31))
    return turned


def _order_of_groups(groups: NDArray[np.int64]) -> _Whole:
    """Return numbers of at most 31 bits that sort as the groups do."""
    low, high = int(groups.min()), int(groups.max())
    if high - low < 1 << GROUP_BITS:
        return (groups - low).astype(np.uint64)
    return np.unique(groups, return_inverse=True)[1].astype(np.uint64)


def _ends(sorted_numbers: _Whole) -> NDArray[np.int64]:
    """Return the position of the last of each run of equal numbers."""
    changes = np.flatnonzero(sorted_numbers[1:] != sorted_numbers[:-1])
    return np.concatenate([changes, [len(sorted_numbers) - 1]])
