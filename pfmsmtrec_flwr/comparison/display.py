"""Shows how far a comparison is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pfmsmtrec_flwr.comparison.jobs import Stage
from pfmsmtrec_flwr.comparison.schedule import Entry, Schedule, State
from pfmsmtrec_flwr.results.means import mean
from pfmsmtrec_flwr.results.progress import clock_face
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.results.tables import MISSING

_WORDS = {Stage.TRIAL: "trial", Stage.RUN: "run", Stage.JOIN: "joining"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a variant is.

    Attributes
    ----------
    name, stage
        Whose jobs, and what for.
    done, failed, total
        Jobs; those still unknown do not count.
    auc
        Mean validation AUC of the job that runs, at its last round; None where there is none.
    seconds
        That its jobs took, on average; None before one has finished.
    left
        Seconds that its other jobs will take; None before that can be told.
    """

    name: str
    stage: Stage
    done: int
    failed: int
    total: int
    auc: float | None
    seconds: float | None
    left: float | None


def progress(schedule: Schedule) -> list[Progress]:
    """Return how far each variant is, in the order of their coming."""
    groups: dict[tuple[str, Stage], list[Entry]] = {}
    for entry in schedule.entries.values():
        groups.setdefault((entry.job.name, entry.job.stage), []).append(entry)
    overall = _mean_seconds(list(schedule.entries.values()))
    return [_progress(name, stage, entries, overall) for (name, stage), entries in groups.items()]


def time_left(schedule: Schedule) -> float | None:
    """Return the seconds that all known jobs will still take beside each other; None before that can be told."""
    parts = [each.left for each in progress(schedule)]
    known = [left for left in parts if left is not None]
    return sum(known) / schedule.slots if known and len(known) == len(parts) else None


class Display:
    """Shows a schedule: redrawn in place on a terminal, a line per finished job otherwise.

    Use it as a context manager, and have the schedule call `update`.

    Parameters
    ----------
    console
        Where to.
    clock
        Seconds, from any origin.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._origin = clock()
        self._told: set[Path] = set()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, schedule: Schedule) -> None:
        """Show the schedule as it is now."""
        elapsed = self._clock() - self._origin
        if self._live is not None:
            self._live.update(drawn(schedule, elapsed), refresh=True)
            return
        for folder, entry in schedule.entries.items():
            if entry.settled and not entry.earlier and folder not in self._told:
                self._told.add(folder)
                self._console.print(Text(line(schedule, entry, elapsed)), soft_wrap=True)


def line(schedule: Schedule, entry: Entry, elapsed: float) -> str:
    """Return what there is to say of a job that has ended."""
    settled = sum(each.settled for each in schedule.entries.values())
    job = entry.job
    said = f"failed: {entry.problem}" if entry.state is State.FAILED else _said(entry)
    return (
        f"{job.name}, {_WORDS[job.stage]} {job.folder.name}: {said}; {settled} of {len(schedule.entries)} done, "
        f"{_times(elapsed, time_left(schedule))}"
    )


def drawn(schedule: Schedule, elapsed: float) -> RenderableType:
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
            MISSING if each.auc is None else f"{each.auc:.4f}",
            MISSING if each.seconds is None else clock_face(each.seconds),
            MISSING if each.left is None else clock_face(each.left),
        )
    return Group(table, Text(_times(elapsed, time_left(schedule))))


def _progress(name: str, stage: Stage, entries: Sequence[Entry], overall: float | None) -> Progress:
    own = _mean_seconds(entries)
    each = own if own is not None else overall
    open_ = sum(not entry.settled for entry in entries)
    left = 0.0 if not open_ else None if each is None else open_ * each
    done = sum(entry.state is State.FINISHED for entry in entries)
    failed = sum(entry.state is State.FAILED for entry in entries)
    return Progress(name, stage, done, failed, len(entries), _current_auc(entries), own, left)


def _mean_seconds(entries: Sequence[Entry]) -> float | None:
    return mean([entry.seconds for entry in entries if entry.state is State.FINISHED])


def _current_auc(entries: Sequence[Entry]) -> float | None:
    running = [entry for entry in entries if entry.state is State.RUNNING]
    return _last_auc(running[-1]) if running else None


def _last_auc(entry: Entry) -> float | None:
    rounds = read_metrics(entry.job.folder)
    return mean(list(rounds[-1].macro.values())) if rounds else None


def _said(entry: Entry) -> str:
    auc = _last_auc(entry)
    figure = "" if auc is None else f"validation AUC {auc:.4f}, "
    return f"{figure}{clock_face(entry.seconds)}"


def _times(elapsed: float, left: float | None) -> str:
    return f"{clock_face(elapsed)} elapsed" + ("" if left is None else f", about {clock_face(left)} left")
