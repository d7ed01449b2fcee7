"""Trials that are not worth their time: rules that read nothing but the validation figures of stored trials.

A trial is compared with earlier trials of the same method alone, and all methods are treated alike. As no rule looks
at clocks or at the number of processes, a tuning that was interrupted decides as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median

from pfmsmtrec_flwr.results.means import mean
from pfmsmtrec_flwr.results.rounds import RoundMetrics, read_metrics
from pfmsmtrec_flwr.results.writer import read_results

Curve = Sequence[float]
"""Best score of a run so far, by round."""
Floor = tuple[float, ...]
"""Score that a run must have reached, by round; the last one holds for all later rounds."""

FIRST_TRIALS = 4
"""Number of trials that are never cut short: there is too little to compare them with."""
_FIRST_ROUNDS = 4
"""Round after which a run may be stopped for the first time."""
_MARGIN = 0.005
"""Distance to the best score within which a trial is always repeated; seeds alone move scores by about as much."""


def run_score(folder: Path) -> float | None:
    """Return the score of a run that has finished, at the selected round of each scenario; None without a figure.

    The score is the mean validation AUC over scenarios and tasks, or minus the mean log loss where no AUC is defined.
    """
    results = read_results(folder)
    rounds = {entry.round: entry for entry in read_metrics(folder)}
    chosen = [
        (rounds[scenario.selected_round], [name])
        for name, scenario in results.scenarios.items()
        if scenario.selected_round in rounds
    ]
    return _score(chosen)


def score_curve(folder: Path) -> Curve:
    """Return the best score so far by round, of a run that may still go on."""
    scores = (_score([(entry, list(entry.scenarios))]) for entry in read_metrics(folder))
    return list(accumulate((-math.inf if score is None else score for score in scores), max))


def floor_of(curves: Sequence[Curve]) -> Floor:
    """Return the scores that the next run must reach: after r rounds, the median of the others after r / 2.

    A run that needs twice as many rounds as half of the others is not stopped: it may learn slowly, or have shorter
    rounds.

    Parameters
    ----------
    curves
        Curves of the earlier trials, with those that were stopped; one that has ended keeps its last value.
    """
    known = [curve for curve in curves if curve]
    if len(known) < FIRST_TRIALS:
        return ()
    last = 2 * max(len(curve) for curve in known)
    return tuple(
        median(_at(curve, (number + 1) // 2) for curve in known) if number >= _FIRST_ROUNDS else -math.inf
        for number in range(1, last + 1)
    )


def is_hopeless(curve: Curve, floor: Floor) -> bool:
    """Whether a run fell below the floor after any of its rounds."""
    return bool(floor) and any(best < _at(floor, number) for number, best in enumerate(curve, start=1))


def is_repeated(score: float, earlier: Sequence[float]) -> bool:
    """Whether a trial whose first run has this score is run with the other seeds and worlds too.

    Parameters
    ----------
    score
        Score of the first run.
    earlier
        Scores of the first runs of earlier trials.
    """
    return len(earlier) < FIRST_TRIALS or score >= median(earlier) or score >= max(earlier) - _MARGIN


def _score(rounds: Sequence[tuple[RoundMetrics, Sequence[str]]]) -> float | None:
    """Return the score of some scenarios, each at a round of its own."""
    figures = [
        figure for entry, names in rounds for name in names for figure in entry.scenarios[name].validation.values()
    ]
    auc = mean(figure.auc for figure in figures)
    if auc is not None:
        return auc
    loss = mean(figure.logloss for figure in figures)
    return None if loss is None else -loss


def _at(values: Sequence[float], number: int) -> float:
    """Return the value of a round, counted from 1; the last one for later rounds."""
    return values[min(number, len(values)) - 1]
