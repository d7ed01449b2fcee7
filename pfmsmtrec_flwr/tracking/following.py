"""A run followed by a tracker, through the files in its output folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pfmsmtrec_flwr.config import RunConfig, Value
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import CONFIG_NAME
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.results.rounds import METRICS_NAME, GrowingLog, RoundMetrics
from pfmsmtrec_flwr.results.schema import RESULTS_NAME, RunResults
from pfmsmtrec_flwr.results.writer import read_run
from pfmsmtrec_flwr.tracking.tracker import Tracker


class RunFollower:
    """Passes what a run writes to a tracker, each round once; call `update` often, and `finish` at the end.

    Parameters
    ----------
    tracker
        Tracker of the run.
    config
        Configuration of the run.
    folder
        Output folder of the run.
    references
        Names of the methods run beside the configured one; their figures have the name before them.
    """

    def __init__(self, tracker: Tracker, config: RunConfig, folder: Path, references: Sequence[str] = ()) -> None:
        self._tracker = tracker
        self._folder = folder
        self._logs = {"": GrowingLog(folder), **{f"{name}/": GrowingLog(folder / name) for name in references}}
        self._passed = dict.fromkeys(self._logs, 0)
        self._lost = False
        try:
            tracker.log_settings(flat_settings(config))
        except BaseException:
            with suppress(UserError, OSError):  # the first error is the one to raise
                tracker.close(failed=True)
            raise

    def update(self) -> None:
        """Pass the rounds that are new. A tracker that no longer answers is left alone: the run goes on."""
        self._pass(self._pass_rounds)

    def finish(self) -> None:
        """Pass the rounds that are new, the test figures, and the files; end the tracker's run."""
        self._pass(self._pass_end)

    def _pass(self, step: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            step()
        except (UserError, OSError) as error:
            self._lost = True
            logger.warning("the run is no longer tracked, and goes on: %s", error)

    def _pass_rounds(self) -> None:
        for prefix, log in self._logs.items():
            for entry in log.rounds()[self._passed[prefix] :]:
                self._tracker.log_figures(_named(prefix, round_figures(entry)), entry.round)
                self._passed[prefix] += 1

    def _pass_end(self) -> None:
        self._pass_rounds()
        finished = (self._folder / RESULTS_NAME).exists()  # the last file of a run, after those of its references
        for place, results in enumerate(read_run(self._folder) if finished else ()):
            prefix = f"{results.method}/" if place else ""
            self._tracker.log_figures(_named(prefix, final_figures(results)), results.rounds)
        for name in (CONFIG_NAME, METRICS_NAME, RESULTS_NAME):
            if (self._folder / name).exists():
                self._tracker.log_file(self._folder / name)
        self._tracker.close(failed=not finished)


def flat_settings(config: RunConfig) -> dict[str, Value]:
    """Return all settings by dotted key; lists as text."""
    return dict(_flat("", config.model_dump(mode="json")))


def round_figures(entry: RoundMetrics) -> dict[str, float]:
    """Return the figures of a round that are known, by name."""
    figures: dict[str, float | None] = {f"validation/auc/{task}": auc for task, auc in entry.macro.items()}
    for name, scenario in entry.scenarios.items():
        figures[f"loss/{name}"] = scenario.loss
        for task, own in scenario.validation.items():
            figures[f"validation/auc/{task}/{name}"] = own.auc
            figures[f"validation/logloss/{task}/{name}"] = own.logloss
    for name, shares in (entry.alpha or {}).items():
        figures |= {f"shares/{share}/{name}": value for share, value in shares.items()}
    figures |= {"traffic/up_bytes": entry.up_bytes, "traffic/down_bytes": entry.down_bytes}
    return {name: float(value) for name, value in figures.items() if value is not None}


def final_figures(results: RunResults) -> dict[str, float]:
    """Return the test figures of a run that are known, by name."""
    figures: dict[str, float | None] = {}
    for task, mean in results.macro.items():
        figures |= {f"test/auc/{task}": mean.auc, f"test/logloss/{task}": mean.logloss}
        figures[f"test/logloss_calibrated/{task}"] = mean.logloss_calibrated
    for name, scenario in results.scenarios.items():
        for task, own in scenario.tasks.items():
            figures |= {f"test/auc/{task}/{name}": own.auc, f"test/logloss/{task}/{name}": own.logloss}
    return {name: float(value) for name, value in figures.items() if value is not None}


def _named(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Return figures under names that every tracker takes."""
    return {re.sub(r"[^\w./\- ]", "_", f"{prefix}{name}"): value for name, value in figures.items()}


def _flat(prefix: str, value: object) -> Iterator[tuple[str, Value]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, str | int | float | bool):
        yield prefix, value
    else:
        yield prefix, str(value)
