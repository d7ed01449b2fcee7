"""Intervals of a run from the AUC of its scenarios in draws of test users, and the file that keeps these.

Each site draws its users itself, and a user has the same weight in a draw at all sites and in all runs. So the same
draws of two runs on the same test rows are pairs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.differences import paired_difference
from pfmsmtrec_flwr.results.schema import DrawnDifference, Interval, RunResults, ScenarioResult

DRAWS_NAME = "draws.json"
DrawnAuc = Mapping[str, Mapping[str, NDArray[np.floating]]]
"""AUC in each draw (B,), by scenario and task; NaN where it is not defined."""
_DIGITS = 6


def with_intervals(results: RunResults, drawn: DrawnAuc) -> RunResults:
    """Return results with the intervals of every AUC, by scenario and in the mean over scenarios."""
    if not drawn:
        return results
    scenarios = {
        name: own.model_copy(
            update={
                "tasks": {
                    task: figures.model_copy(update={"interval": drawn_interval(figures.auc, drawn[name].get(task))})
                    for task, figures in own.tasks.items()
                }
            }
        )
        for name, own in results.scenarios.items()
    }
    macro = {
        task: figures.model_copy(update={"interval": _interval(_mean(results, drawn, task))})
        for task, figures in results.macro.items()
    }
    count = next(len(one) for own in drawn.values() for one in own.values())
    return results.model_copy(update={"scenarios": scenarios, "macro": macro, "draws": count})


def drawn_interval(auc: float | None, drawn: NDArray[np.floating] | None) -> Interval | None:
    """Return the interval of an AUC from that in each draw (B,); None where it is not defined or not drawn."""
    return None if auc is None or drawn is None else _interval(np.concatenate([[auc], drawn], dtype=np.float64))


def drawn_differences(
    own: RunResults, drawn: DrawnAuc, references: Sequence[tuple[RunResults, DrawnAuc]]
) -> Iterator[DrawnDifference]:
    """Yield the differences of reference methods to a run's own method, in each task.

    A reference that lacks one of the scenarios, as it may where scenarios fail, has no difference.

    Parameters
    ----------
    own, drawn
        Results of the run's own method, and its AUC in each draw.
    references
        The same of the reference methods.
    """
    for reference, theirs in references:
        for task in own.macro if reference.scenarios.keys() == own.scenarios.keys() else ():
            one, other = _mean(own, drawn, task), _mean(reference, theirs, task)
            found = None if one is None or other is None else paired_difference(other - one)
            if found is not None:
                difference, low, high, _, p = found
                interval = Interval(low=low, high=high)
                yield DrawnDifference(
                    reference=reference.method, task=task, difference=difference, interval=interval, p=p
                )


def write_draws(drawn: DrawnAuc, folder: Path) -> None:
    """Write the AUC in each draw into the folder of a run; without any, no file is written.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    if not drawn:
        return
    document = {name: {task: _listed(own[task]) for task in own} for name, own in sorted(drawn.items())}
    path = folder / DRAWS_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def _listed(drawn: NDArray[np.floating]) -> list[float | None]:
    return [None if np.isnan(auc) else round(float(auc), _DIGITS) for auc in drawn]


def _scenario(own: ScenarioResult, drawn: Mapping[str, NDArray[np.floating]], task: str) -> NDArray[np.float64] | None:
    """Return the AUC on the rows as they are, then in each draw (1 + B,); None where it is not defined or not drawn."""
    auc = own.tasks[task].auc
    return None if auc is None or task not in drawn else np.concatenate([[auc], drawn[task]], dtype=np.float64)


def _mean(results: RunResults, drawn: DrawnAuc, task: str) -> NDArray[np.float64] | None:
    """Return the mean over the scenarios in which the AUC is defined, as `_scenario` does."""
    having = [(own, drawn[name]) for name, own in results.scenarios.items() if task in own.tasks and name in drawn]
    known = [auc for own, theirs in having if (auc := _scenario(own, theirs, task)) is not None]
    return np.mean(known, axis=0) if known else None


def _interval(replicates: NDArray[np.float64] | None) -> Interval | None:
    found = None if replicates is None else paired_difference(replicates)
    return None if found is None else Interval(low=found[1], high=found[2])
