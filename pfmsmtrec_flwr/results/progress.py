"""Progress of a run, read from the files in its output folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pfmsmtrec_flwr.results.rounds import GrowingLog, RoundMetrics
from pfmsmtrec_flwr.results.tables import figure_cell


@dataclass(frozen=True, slots=True)
class RunState:
    """State of a run at one moment.

    Attributes
    ----------
    phase
        Current activity in words.
    elapsed, left
        Seconds since the start, and upper bound of the seconds left; None while it is unknown.
    done
        Share of all configured rounds that is done, from 0 to 1.
    current
        Last round logged by the method that is running.
    """

    phase: str
    elapsed: float
    left: float | None
    done: float
    current: RoundMetrics | None


class RunWatch:
    """Watch over the files of a run as they grow.

    Parameters
    ----------
    output
        Output folder; methods other than `method` log in folders of their names below it.
    method
        The run's own method.
    references
        Methods run beside it.
    clock
        Function that returns seconds from any origin.
    opening
        Function that returns the phase while no round is logged yet.
    """

    def __init__(
        self,
        output: Path,
        method: str,
        references: Sequence[str] = (),
        *,
        opening: Callable[[], str] = lambda: "starting",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logs = {method: GrowingLog(output), **{name: GrowingLog(output / name) for name in references}}
        self._opening = opening
        self._clock = clock
        self._origin = clock()

    def look(self) -> RunState:
        """Return the current state of the run."""
        elapsed = self._clock() - self._origin
        begun = {name: rounds for name, log in self._logs.items() if (rounds := log.rounds())}
        if not begun:
            return RunState(self._opening(), elapsed, None, 0.0, None)
        name = max(begun, key=lambda key: self._logs[key].stamp)
        current = begun[name][-1]
        each = _seconds_per_round(begun[name])
        waiting = sum(name not in begun for name in self._logs)
        left = each * (current.rounds - current.round + waiting * current.rounds) if each is not None else None
        # A method that another follows has ended, however early.
        passed = (len(begun) - 1) + current.round / current.rounds
        ended = current.round == current.rounds and not waiting
        phase = "finishing" if ended else f"round {current.round} of {current.rounds}"
        return RunState(phase, elapsed, left, passed / len(self._logs), current)


class LiveDisplay:
    """Display that is redrawn in place on a terminal, and prints lines otherwise; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


class RunDisplay(LiveDisplay):
    """Display of a run, with a line per round where it is not redrawn; call `update` often."""

    def __init__(self, watch: RunWatch, console: Console) -> None:
        super().__init__(console)
        self._watch = watch
        self._last = ""

    def __enter__(self) -> Self:
        super().__enter__()
        self.update()
        return self

    def update(self) -> None:
        """Draw the current state of the run."""
        state = self._watch.look()
        if self._live is not None:
            self._live.update(run_drawing(state), refresh=True)
            return
        key = _where(state)
        if key != self._last:
            self._last = key
            self._print(run_line(state))


def run_line(state: RunState) -> str:
    """Return the state as one line of text."""
    parts = [_where(state)]
    if state.current is not None and state.current.macro:
        figures = " ".join(f"{task} {figure_cell(auc)}" for task, auc in state.current.macro.items())
        parts.append(f"validation AUC {figures}{_over(state.current)}")
    parts.append(_times(state))
    return ", ".join(parts)


def run_drawing(state: RunState) -> RenderableType:
    """Return the state as a bar with the last round's validation AUC per scenario and task."""
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(_where(state), style="bold"), ProgressBar(total=1.0, completed=state.done, width=30), _times(state)
    )
    if state.current is None:
        return head
    tasks = list(dict.fromkeys(task for scenario in state.current.scenarios.values() for task in scenario.validation))
    grid = Table(box=None, pad_edge=False, title="validation AUC", title_justify="left", title_style="dim")
    grid.add_column("scenario")
    for task in tasks:
        grid.add_column(task, justify="right")
    for name, scenario in state.current.scenarios.items():
        figures = (scenario.validation.get(task) for task in tasks)
        grid.add_row(name, *(str(figure_cell(None if found is None else found.auc)) for found in figures))
    if state.current.macro:
        grid.add_row(
            f"mean{_over(state.current)}",
            *(str(figure_cell(state.current.macro.get(task))) for task in tasks),
            style="bold",
        )
    return Group(head, grid)


def clock_face(seconds: float) -> str:
    """Return a duration as h:mm:ss, or m:ss below an hour.

    >>> clock_face(75.4), clock_face(3725)
    ('1:15', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _where(state: RunState) -> str:
    return state.phase if state.current is None else f"{state.current.method}: {state.phase}"


def _times(state: RunState) -> str:
    # Early stopping may end the run earlier, hence "at most".
    left = f", at most {clock_face(state.left)} left" if state.left is not None else ""
    return f"{clock_face(state.elapsed)} elapsed{left}"


def _over(current: RoundMetrics) -> str:
    """Say over which of the scenarios a round's means are; empty if over all."""
    there, lacking = len(current.scenarios), len(current.unmeasured)
    return f" ({there} of {there + lacking} scenarios, without {', '.join(current.unmeasured)})" if lacking else ""


def _seconds_per_round(rounds: Sequence[RoundMetrics]) -> float | None:
    """Return the mean length of a round; the first also waits for the clients, so it counts only while it is alone."""
    first, last = rounds[0], rounds[-1]
    if last.round > first.round:
        return (last.seconds - first.seconds) / (last.round - first.round)
    return last.seconds / last.round if last.round > 0 else None
