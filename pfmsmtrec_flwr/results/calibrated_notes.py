"""Notes below the table of a run: log loss and calibration of the calibrated predictions."""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.results.frame import Metric
from pfmsmtrec_flwr.results.schema import RunResults
from pfmsmtrec_flwr.results.tables import MISSING


def calibrated_notes(runs: Sequence[RunResults]) -> list[str]:
    """Return the mean log loss of each method after calibration, and how far its predictions are from the positives."""
    return [
        f"{own.method}, calibrated on validation rows: "
        + "; ".join(
            f"{task} log loss {mean.logloss_calibrated:.4f}, predicted over observed by scenario "
            f"{_range(own, task, 'calibration_calibrated')} (before {_range(own, task, 'calibration')})"
            for task, mean in own.macro.items()
            if mean.logloss_calibrated is not None
        )
        for own in runs
        if any(mean.logloss_calibrated is not None for mean in own.macro.values())
    ]


def _range(own: RunResults, task: str, metric: Metric) -> str:
    """Return the lowest and the highest figure of the scenarios."""
    tasks = [scenario.tasks[task] for scenario in own.scenarios.values() if task in scenario.tasks]
    known = [figure for each in tasks if (figure := getattr(each, metric)) is not None]
    return f"{min(known):.2f} to {max(known):.2f}" if known else MISSING
