"""Progress of a comparison on the console."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pfmsmtrec_flwr.comparison.jobs import JobStage
from pfmsmtrec_flwr.comparison.schedule import Entry, JobState, Schedule
from pfmsmtrec_flwr.results.means import mean
from pfmsmtrec_flwr.results.progress import LiveDisplay, clock_face
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.results.tables import MISSING, figure_cell

_WORDS = {JobStage.TRIAL: "trial", JobStage.RUN: "run", JobStage.JOIN: "joining"}


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a variant.

    Attributes
    ----------
    name, stage
        Name of the variant, and purpose of its jobs.
    done, failed, total
        Numbers of jobs known so far; of a tuning, numbers of trials, with those that are still to come.
    auc
        Mean validation AUC of the job that is running, at its last round; None if there is none.
    seconds
        Mean duration of a finished job, or of the runs of a trial; None before one has finished.
    left
        Seconds that its other jobs will take; None while that is unknown.
    """

    name: str
    stage: JobStage
    done: int
    failed: int
    total: int
    auc: float | None
    seconds: float | None
    left: float | None


def progress(schedule: Schedule) -> list[Progress]:
    """Return the progress of each variant, in the order of their arrival."""
    groups: dict[tuple[str, JobStage], list[Entry]] = {}
    for entry in schedule.entries.values():
        groups.setdefault((entry.job.name, entry.job.stage), []).append(entry)
    overall = _mean_seconds(list(schedule.entries.values()))
    return [_progress(name, stage, entries, overall) for (name, stage), entries in groups.items()]


def time_left(schedule: Schedule) -> float | None:
    """Return the seconds that all known jobs will still take side by side; None while that is unknown."""
    parts = [each.left for each in progress(schedule)]
    known = [left for left in parts if left is not None]
    return sum(known) / schedule.slots if known and len(known) == len(parts) else None


class ScheduleDisplay(LiveDisplay):
    """Display of a schedule, with a line per finished job where it is not redrawn; the schedule calls `update`.

    Parameters
    ----------
    console
        Console to print to.
    clock
        Function that returns seconds from any origin.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._origin = clock()
        self._shown: set[Path] = set()

    def update(self, schedule: Schedule) -> None:
        """Show the current state of the schedule."""
        elapsed = self._clock() - self._origin
        if self._live is not None:
            self._live.update(schedule_drawing(schedule, elapsed), refresh=True)
            return
        for folder, entry in schedule.entries.items():
            if entry.settled and not entry.earlier and folder not in self._shown:
                self._shown.add(folder)
                self._print(job_line(schedule, entry, elapsed))


def job_line(schedule: Schedule, entry: Entry, elapsed: float) -> str:
    """Return a line about a job that has ended."""
    settled = sum(each.settled for each in schedule.entries.values())
    job = entry.job
    said = f"failed: {entry.problem}" if entry.state is JobState.FAILED else _said(entry)
    trial = f"{job.trial} of {job.trials}, " if job.trial else ""
    return (
        f"{job.name}, {_WORDS[job.stage]} {trial}{job.folder.name}: {said}; {settled} of {len(schedule.entries)} done, "
        f"{_times(elapsed, time_left(schedule))}"
    )


def schedule_drawing(schedule: Schedule, elapsed: float) -> RenderableType:
    """Return the schedule as a table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("method")
    table.add_column("stage")
    for head in ("done", "validation AUC", "each", "left"):
        table.add_column(head, justify="right")
    for each in progress(schedule):
        failed = f", {each.failed} failed" if each.failed else ""
        table.add_row(
            Text(each.name),
            _WORDS[each.stage],
            f"{each.done} of {each.total}{failed}",
            str(figure_cell(each.auc)),
            MISSING if each.seconds is None else clock_face(each.seconds),
            MISSING if each.left is None else clock_face(each.left),
        )
    return Group(table, Text(_times(elapsed, time_left(schedule))))


def _progress(name: str, stage: JobStage, entries: Sequence[Entry], overall: float | None) -> Progress:
    units = _units(entries)
    total = max(len(units), entries[-1].job.trials)
    done = sum(_is_done(unit) for unit in units)
    failed = sum(any(entry.state is JobState.FAILED for entry in unit) for unit in units)
    own = mean(sum(entry.seconds for entry in unit) for unit in units if _is_done(unit))
    each = own if own is not None else overall
    open_ = total - sum(all(entry.settled for entry in unit) for unit in units)
    left = 0.0 if not open_ else None if each is None else open_ * each
    return Progress(name, stage, done, failed, total, _current_auc(entries), own, left)


def _units(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return what is counted: each job by itself, or the runs of a trial together."""
    units: dict[object, list[Entry]] = {}
    for entry in entries:
        units.setdefault(entry.job.trial or entry.job.folder, []).append(entry)
    return list(units.values())


def _is_done(unit: Sequence[Entry]) -> bool:
    return all(entry.state in (JobState.FINISHED, JobState.STOPPED) for entry in unit)


def _mean_seconds(entries: Sequence[Entry]) -> float | None:
    return mean(entry.seconds for entry in entries if entry.state is JobState.FINISHED)


def _current_auc(entries: Sequence[Entry]) -> float | None:
    running = [entry for entry in entries if entry.state is JobState.RUNNING]
    return _last_auc(running[-1]) if running else None


def _last_auc(entry: Entry) -> float | None:
    rounds = read_metrics(entry.job.folder)
    return mean(rounds[-1].macro.values()) if rounds else None


def _said(entry: Entry) -> str:
    auc = _last_auc(entry)
    figure = "" if auc is None else f"validation AUC {auc:.4f}, "
    stopped = "stopped, " if entry.state is JobState.STOPPED else ""
    return f"{stopped}{figure}{clock_face(entry.seconds)}"


def _times(elapsed: float, left: float | None) -> str:
    return f"{clock_face(elapsed)} elapsed" + ("" if left is None else f", about {clock_face(left)} left")
