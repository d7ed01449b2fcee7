"""Conflict between the scenarios' updates of each expert."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.report.figures.curves import curve_of, draw_curve
from pfmsmtrec_flwr.report.figures.matrix import Scale, draw_matrix
from pfmsmtrec_flwr.report.figures.style import GREY, PANEL, Drawing, colour, dash, frame_rounds, listed, panels
from pfmsmtrec_flwr.report.study import LoggedRun, LoggedVariant, Study
from pfmsmtrec_flwr.results.overviews import file_name
from pfmsmtrec_flwr.results.rounds import ConflictRound


def draw_conflicts(study: Study) -> Iterator[Drawing]:
    """Draw the conflict of each method that logs it: over the rounds, and in the first and last round."""
    for variant in study.variants:
        if all(run.conflicts for run in variant.runs):
            yield _course(variant)
            yield from _matrices(variant)


def _course(variant: LoggedVariant) -> Drawing:
    first = variant.runs[0]
    experts = _experts(first)
    figure, (axes,) = panels(1, len(experts) + 1, columns=3, height=1.2 * PANEL)
    axes.axhline(0, color=GREY, linewidth=0.6)
    for place, series in enumerate(experts):
        rounds, cosines = list(series), list(series.values())
        axes.plot(rounds, cosines, dash(place), color=colour(place), linewidth=0.8, label=f"expert {place}")
    overall = curve_of([_mean_over_experts(run) for run in variant.runs])
    if overall is not None:
        draw_curve(axes, overall, colour="#000000", dash="-", label="all experts", width=2.0)
    axes.set_ylabel("mean cosine")
    frame_rounds(figure, [axes], variant.name, columns=3)
    return Drawing(
        file_name("conflict", variant.name),
        f"{variant.name}: mean cosine between the updates of two scenarios, by round. Thick: mean over experts and "
        f"seeds, with a band of one standard deviation; thin: the experts of seed {first.results.seed}.",
        f"Mean cosine between scenarios' updates under {variant.name}, for {len(experts)} experts.",
        figure,
    )


def _experts(run: LoggedRun) -> list[dict[int, float]]:
    """Return each expert's mean cosine by round."""
    logged = {number: conflict.mean for number, conflict in run.conflicts.items()}
    count = min(map(len, logged.values()))
    return [{number: means[expert] for number, means in logged.items()} for expert in range(count)]


def _mean_over_experts(run: LoggedRun) -> dict[int, float]:
    experts = _experts(run)
    return {number: sum(series[number] for series in experts) / len(experts) for number in experts[0]}


def _matrices(variant: LoggedVariant) -> Iterator[Drawing]:
    for which, place in (("first", 0), ("last", -1)):
        numbers, conflicts = zip(*(list(run.conflicts.items())[place] for run in variant.runs), strict=True)
        scenarios, matrix = mean_matrix(conflicts)
        if scenarios:
            rounds = listed([str(number) for number in sorted(set(numbers))])
            yield _matrix(variant, which, rounds, scenarios, matrix)


def mean_matrix(conflicts: Sequence[ConflictRound]) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return scenarios, and the cosines between their updates (K, K), mean over experts and `conflicts`.

    There are no scenarios if one of `conflicts` lacks cosines, or if they are about different scenarios.
    """
    scenarios = conflicts[0].scenarios
    if not all(conflict.scenarios == scenarios and conflict.cosines for conflict in conflicts):
        return [], np.zeros((0, 0))
    means = [np.mean(np.asarray(conflict.cosines), axis=0) for conflict in conflicts]
    return list(scenarios), np.mean(means, axis=0)


def _matrix(
    variant: LoggedVariant, which: str, rounds: str, scenarios: Sequence[str], matrix: npt.NDArray[np.float64]
) -> Drawing:
    scale = Scale("PuOr_r", -1, 1, "cosine")
    figure = draw_matrix(f"{variant.name}, round {rounds}", scenarios, matrix, scale)
    pairs = matrix[~np.eye(len(scenarios), dtype=bool)]
    return Drawing(
        file_name("conflict", which, variant.name),
        f"{variant.name}, {which} round ({rounds}): cosine between the updates of each pair of scenarios, "
        "mean over experts and seeds.",
        f"Matrix of cosines between {listed(scenarios)}, from {pairs.min():.2f} to {pairs.max():.2f}."
        if pairs.size
        else f"Matrix of cosines of {listed(scenarios)}.",
        figure,
    )
