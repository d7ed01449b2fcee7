"""The exact area under the ROC curve, over all rows and within groups of rows, in bounded memory.

Group, score and label of a row fit one whole number, and sorting numbers is many times as fast as sorting their
positions, which scikit-learn does. Where there are many rows, those between two scores or of some groups are sorted at
a time.

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

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SCORE_BITS = 32
"""Bits that the order of a score takes."""
GROUP_BITS = 31
"""Bits that the order of a group takes; one is left for the label."""
PART = 1 << 21
"""Rows, about, that are sorted at once; more where a group is larger."""
PIECE = 1 << 18
"""Rows that are looked through at once for those to sort, or counted at once."""
SAMPLE = 64
"""Rows of a part, about, in the sample from which the bounds of the parts come."""

_Whole = NDArray[np.uint64]
_Keys = NDArray[np.floating] | NDArray[np.int64]
_Key = float | np.floating | np.int64


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

    It is the share of the pairs of a positive and a negative row that are in order, equal scores counting half. The
    pairs are whole numbers, so the value is rounded once and does not depend on the order of the rows.

    Raises
    ------
    ValueError
        A score is not finite.
    """
    twice_won = positives = negatives = 0
    for own_won, own_positives, own_negatives in _counts_in_order(labels, scores):
        twice_won += own_won + 2 * own_positives * negatives
        positives += own_positives
        negatives += own_negatives
    if positives + negatives < len(scores):  # no score but a finite one lies between the infinities
        raise ValueError("scores are not finite")
    return twice_won / (2 * positives * negatives)


def grouped_areas(
    labels: NDArray[np.uint8], scores: NDArray[np.floating], groups: NDArray[np.int64], outside: int | None = None
) -> GroupedAreas:
    """Return the area under the ROC curve within each group of rows, of the groups with rows of both classes.

    Parameters
    ----------
    labels
        Labels, 0 or 1, (n,).
    scores
        Scores (n,).
    groups
        Group of each row (n,).
    outside
        Number of the rows that belong to no group; None: there are no such rows.

    Raises
    ------
    ValueError
        A score is not finite.
    """
    found = [GroupedAreas(np.empty(0), np.empty(0, dtype=np.int64))]
    for low, high in pairwise([-np.inf, *_bounds(groups), np.inf]):
        chosen = _rows_between(groups, low, high, outside)
        if len(chosen):
            found.append(_areas_of_part(labels[chosen], scores[chosen], groups[chosen]))
    return GroupedAreas(np.concatenate([part.areas for part in found]), np.concatenate([part.rows for part in found]))


def _counts_in_order(labels: NDArray[np.uint8], scores: NDArray[np.floating]) -> Iterator[tuple[int, int, int]]:
    """Yield twice the pairs won within a part, its positives and its negatives, in ascending order of the scores.

    The rows at a bound are a part of their own, which needs no sort: so a score that most rows share takes no memory.
    """
    infinity = scores.dtype.type(np.inf)
    bounds = _bounds(scores)
    for low, high in pairwise([-infinity, *bounds[np.isfinite(bounds)], infinity]):
        with np.errstate(over="ignore"):  # behind the largest number lies infinity
            first = np.nextafter(low, infinity)
        chosen = _rows_between(scores, first, high)
        if len(chosen):
            packed = _packed(labels[chosen], scores[chosen])
            packed.sort()
            twice_won, positives = (int(count[0]) for count in _count(packed, np.zeros(1, dtype=np.int64)))
            yield twice_won, positives, len(packed) - positives
        if high < infinity:
            positives, negatives = _equal_rows(labels, scores, high)
            yield positives * negatives, positives, negatives


def _equal_rows(labels: NDArray[np.uint8], scores: NDArray[np.floating], score: np.floating) -> tuple[int, int]:
    """Return the numbers of positive and of negative rows with a score."""
    positives = rows = 0
    for first in range(0, len(scores), PIECE):
        equal = scores[first : first + PIECE] == score
        rows += int(np.count_nonzero(equal))
        positives += int(np.count_nonzero(labels[first : first + PIECE][equal]))
    return positives, rows - positives


def _bounds(keys: _Keys) -> _Keys:
    """Return different keys between which some `PART` rows lie each, by a sample; none for few rows.

    The sample is drawn, as rows of a log may repeat in a cycle. The areas do not depend on it.
    """
    parts = -(-len(keys) // PART)
    if parts <= 1:
        return keys[:0]
    sample = np.sort(keys[np.random.default_rng(0).integers(0, len(keys), parts * SAMPLE)])
    return np.unique(sample[SAMPLE::SAMPLE])


def _rows_between(keys: _Keys, low: _Key, high: _Key, outside: int | None = None) -> NDArray[np.int64]:
    """Return the positions of the keys from `low` to below `high`; a key that is `outside` has none."""
    found = []
    for first in range(0, len(keys), PIECE):
        piece = keys[first : first + PIECE]
        chosen = (piece >= low) & (piece < high)
        if outside is not None:
            chosen &= piece != outside
        found.append(first + np.flatnonzero(chosen))
    return np.concatenate([np.empty(0, dtype=np.int64), *found])


def _areas_of_part(labels: NDArray[np.uint8], scores: NDArray[np.floating], groups: NDArray[np.int64]) -> GroupedAreas:
    """Return the areas within groups of which all rows are there."""
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
