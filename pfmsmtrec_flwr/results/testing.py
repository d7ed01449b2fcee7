"""Paired tests between methods."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

Outcome = Literal["win", "tie", "loss"]
CONFIDENCE = 0.95


def paired_t(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of a paired t-test.

    Parameters
    ----------
    differences
        One difference for each pair.

    Returns
    -------
    float or None
        None with fewer than two pairs; 0 or 1 where all differences are the same and no test is needed.
    """
    if len(differences) < 2:
        return None
    if statistics.stdev(differences) <= _rounding(differences):
        return 1.0 if abs(statistics.fmean(differences)) <= _rounding(differences) else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def wilcoxon(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; pairs without a difference are left out.

    The test is exact where there are few pairs and no ties, and else uses the normal approximation (Wilcoxon,
    Biometrics Bulletin 1945).

    Parameters
    ----------
    differences
        One difference for each pair.

    Returns
    -------
    float or None
        None with fewer than two pairs; 1 where none differs.
    """
    if len(differences) < 2:
        return None
    moved = np.array([difference for difference in differences if difference != 0.0])
    return float(stats.wilcoxon(moved).pvalue) if len(moved) else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for their number (Holm, Scandinavian Journal of Statistics 1979); None stays None.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[place] = largest
    return corrected


def outcome(differences: Sequence[float]) -> Outcome | None:
    """Return whether the differences over seeds are a win, a loss, or neither.

    Parameters
    ----------
    differences
        A method's figure less the reference's, one for each seed; a higher figure is the better one.

    Returns
    -------
    str or None
        ``tie`` where the 95 % interval of the mean difference contains 0. With one seed the sign alone counts; without
        seeds there is no outcome.
    """
    if not differences:
        return None
    low, high = interval(differences)
    if low > 0:
        return "win"
    return "loss" if high < 0 else "tie"


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean difference by Student's t; with one difference, that difference alone."""
    centre = statistics.fmean(differences)
    if len(differences) < 2:
        return centre, centre
    if statistics.stdev(differences) <= _rounding(differences):
        return (centre, centre) if abs(centre) > _rounding(differences) else (0.0, 0.0)
    found = stats.ttest_1samp(differences, 0.0).confidence_interval(CONFIDENCE)
    return float(found.low), float(found.high)


def _rounding(differences: Sequence[float]) -> float:
    """Return how far equal differences may lie apart by the rounding of their terms, which are figures of about 1."""
    return 8 * float(np.finfo(np.float64).eps) * max(1.0, *map(abs, differences))
