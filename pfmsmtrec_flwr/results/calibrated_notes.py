"""Note below the table of a run: log loss and calibration of the calibrated predictions."""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.results.frame import Metric
from pfmsmtrec_flwr.results.schema import RunResults
from pfmsmtrec_flwr.results.tables import MISSING


def calibrated_notes(runs: Sequence[RunResults]) -> list[str]:
    """Return the mean log loss of each method after calibration, and how near the first one comes to the positives.

    Parameters
    ----------
    runs
        Results of the run's own method, then of its reference methods.

    Returns
    -------
    list of str
        One note; none if no method is calibrated.
    """
    losses = [
        f"of {own.method} "
        + ", ".join(f"{task} {loss:.4f}" for task, mean in own.macro.items() if (loss := mean.logloss_calibrated))
        for own in runs
        if _has_curve(own)
    ]
    if not losses:
        return []
    first = runs[0]
    ratios = [
        f"{task} {_range(first, task, 'calibration_calibrated')} (before {_range(first, task, 'calibration')})"
        for task in first.macro
    ]
    return [
        f"calibrated on validation rows: log loss {'; '.join(losses)}; "
        f"predicted over observed by scenario, {first.method}: {', '.join(ratios)}"
    ]


def _has_curve(own: RunResults) -> bool:
    tasks = (task for scenario in own.scenarios.values() for task in scenario.tasks.values())
    return any(task.logloss_calibrated is not None for task in tasks)


def _range(own: RunResults, task: str, metric: Metric) -> str:
    """Return the lowest and the highest figure of the scenarios."""
    tasks = [scenario.tasks[task] for scenario in own.scenarios.values() if task in scenario.tasks]
    known = [figure for each in tasks if (figure := getattr(each, metric)) is not None]
    return f"{min(known):.2f} to {max(known):.2f}" if known else MISSING
