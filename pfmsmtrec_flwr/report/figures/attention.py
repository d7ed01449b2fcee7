"""Attention between the scenarios' tower updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.report.figures.matrix import Scale, draw_matrix
from pfmsmtrec_flwr.report.figures.style import Drawing, listed
from pfmsmtrec_flwr.report.study import LoggedRun, LoggedVariant, Study
from pfmsmtrec_flwr.results.overviews import file_name
from pfmsmtrec_flwr.results.rounds import AttentionRound

_SCALE = Scale("Blues", 0, 1, "weight")


def draw_attention(study: Study) -> Iterator[Drawing]:
    """Draw the attention of each method that logs it, a matrix per task, in the selected rounds."""
    for variant in study.variants:
        for task in study.figures.tasks:
            if all(run.attention(task) for run in variant.runs):
                yield _matrix(variant, task, study.figures.scenarios)


def selected_weights(run: LoggedRun, task: str, scenarios: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the weights in each scenario's selected round, or in its last one if that was not logged.

    Returns
    -------
    Array
        Weight of each scenario's update (column) for each scenario (row), (K, K). NaN where there is none: a scenario
        lacks the task, or missed the round.
    """
    matrix = np.full((len(scenarios), len(scenarios)), np.nan)
    for place, scenario in enumerate(scenarios):
        series = {number: own for number, own in run.attention(task).items() if scenario in own.scenarios}
        if series:
            own = run.results.scenarios.get(scenario)
            last = series[max(series)]
            weights = _row(series.get(own.selected_round, last) if own is not None else last, scenario)
            matrix[place] = [weights.get(other, np.nan) for other in scenarios]
    return matrix


def _row(attention: AttentionRound, scenario: str) -> dict[str, float]:
    """Return the weights of one scenario's mixture, by scenario."""
    weights = attention.weights[attention.scenarios.index(scenario)]
    return dict(zip(attention.scenarios, weights, strict=True))


def _matrix(variant: LoggedVariant, task: str, scenarios: Sequence[str]) -> Drawing:
    stacked = np.stack([selected_weights(run, task, scenarios) for run in variant.runs])
    known = np.isfinite(stacked)
    counts = known.sum(axis=0)
    mean = np.where(counts > 0, np.where(known, stacked, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)
    kept = np.flatnonzero(counts.any(axis=1)).tolist()
    named, matrix = [scenarios[place] for place in kept], mean[np.ix_(kept, kept)]
    own = np.diagonal(matrix)
    return Drawing(
        file_name("attention", task, variant.name),
        f"{variant.name}, {task}: weight of each scenario's tower update (column) in the mixture of each scenario "
        "(row), mean over layers and seeds, in the selected rounds.",
        f"Matrix of attention between {listed(named)}; own weights from {own.min():.2f} to {own.max():.2f}.",
        draw_matrix(f"{variant.name}, {task}", named, matrix, _SCALE),
    )
