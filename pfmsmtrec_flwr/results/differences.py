"""Differences between variants, with their intervals, from the AUC in draws of test users."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pfmsmtrec_flwr.results.bootstrap import Bootstrap, Leaders, PairedDifference
from pfmsmtrec_flwr.results.frame import MEAN
from pfmsmtrec_flwr.results.replicates import Replicates
from pfmsmtrec_flwr.results.testing import CONFIDENCE, holm

POWERED = 2.8
"""Standard errors that a true difference must have to be found at 5 % with a power of 80 %: 1.96 + 0.84."""


def bootstrap_of(replicates: Replicates, reference: str, baseline: str, unit: str) -> Bootstrap:
    """Return the differences between variants by a paired bootstrap.

    Parameters
    ----------
    replicates
        AUC in draws of units.
    reference
        Variant to which differences are tested.
    baseline
        Second variant to which differences are computed, such as training alone.
    unit
        Kind of unit, in words.
    """
    differences: list[PairedDifference] = []
    leaders = []
    for task in replicates.tasks:
        counted = replicates.counted(task)
        for scenario in (MEAN, *counted):
            among = [scenario] if scenario else counted
            first = _first(replicates, task, among)
            others = dict.fromkeys(other for other in (reference, baseline, first) if other)
            own = [each for other in others for each in _differences(replicates, other, task, scenario, among)]
            differences += own
            if first:
                leaders.append(Leaders(task=task, scenario=scenario, variants=_leading(own, first)))
    tested = [each for each in differences if each.other == reference and each.scenario == MEAN]
    untested = [each for each in differences if each.other != reference or each.scenario != MEAN]
    corrected = holm([each.p for each in tested])
    tested = [each.model_copy(update={"p_holm": p}) for each, p in zip(tested, corrected, strict=True)]
    return Bootstrap(
        draws=replicates.draws,
        units=replicates.units,
        unit=unit,
        differences=[*tested, *untested],
        leaders=leaders,
        smallest=_smallest(tested),
    )


def paired_difference(replicates: NDArray[np.float64]) -> tuple[float, float, float, float, float] | None:
    """Return difference, ends of the 95 % interval, standard error and p-value; None where no draw has a figure.

    The interval is between percentiles of the draws (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13). The p-value is by the normal distribution: of 1,000 draws no share could lie below what a correction
    for many variants needs.

    Parameters
    ----------
    replicates
        Difference on the rows as they are, then in each draw (1 + B,); a draw without a figure (NaN) does not count.
    """
    difference, drawn = float(replicates[0]), replicates[1:]
    known = drawn[~np.isnan(drawn)]
    if len(known) < 2:
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    error = float(known.std(ddof=1))
    if error == 0.0:
        return difference, float(low), float(high), 0.0, 1.0 if difference == 0.0 else 0.0
    p = float(2 * stats.norm.sf(abs(difference) / error))
    return difference, float(low), float(high), error, p


def _differences(
    replicates: Replicates, other: str, task: str, scenario: str, among: Sequence[str]
) -> Iterator[PairedDifference]:
    """Compare every variant with another one, over the seeds that both have."""
    theirs = replicates.seeds(other, task, among)
    for variant in replicates.variants:
        common = replicates.seeds(variant, task, among) & theirs
        if variant == other or not common:
            continue
        own, base = (replicates.mean(each, task, among, common) for each in (variant, other))
        found = paired_difference(own - base)
        if found is None:
            continue
        difference, low, high, error, p = found
        yield PairedDifference(
            variant=variant,
            other=other,
            task=task,
            scenario=scenario,
            seeds=len(common),
            difference=difference,
            low=low,
            high=high,
            error=error,
            p=p,
        )


def _first(replicates: Replicates, task: str, among: Sequence[str]) -> str:
    """Return the variant of the highest mean AUC; empty if there are fewer than two."""
    seeds = {variant: replicates.seeds(variant, task, among) for variant in replicates.variants}
    means = {variant: float(replicates.mean(variant, task, among, own)[0]) for variant, own in seeds.items() if own}
    return max(means, key=lambda variant: means[variant]) if len(means) > 1 else ""


def _leading(differences: Sequence[PairedDifference], first: str) -> list[str]:
    behind = [each for each in differences if each.other == first]
    level = [each.variant for each in behind if not each.is_clear]
    return [first, *level] if len(level) < len(behind) else []


def _smallest(tested: Sequence[PairedDifference]) -> dict[str, float]:
    errors: dict[str, list[float]] = {}
    for each in tested:
        errors.setdefault(each.task, []).append(each.error)
    return {task: POWERED * statistics.median(own) for task, own in errors.items()}
