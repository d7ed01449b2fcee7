"""Jobs in the order in which they can be done, beside each other, each once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pfmsmtrec_flwr.comparison.jobs import Job, adopt, perform, tidy
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.writer import read_results

Program = Iterator[Sequence[Job]]
"""Jobs that may be done at once, then those that need their results, and so on."""

_POLL_SECONDS = 0.5


class State(Enum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(slots=True)
class Entry:
    """A job on the schedule.

    Attributes
    ----------
    job
        The job.
    state
        How far it is.
    earlier
        Whether its results were there before.
    seconds
        That it took, once it has finished.
    problem
        Why it failed.
    """

    job: Job
    state: State = State.WAITING
    earlier: bool = False
    seconds: float = 0.0
    problem: str = ""

    @property
    def settled(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in (State.FINISHED, State.FAILED)


Observer = Callable[["Schedule"], None]


class Schedule:
    """Runs programs beside each other.

    Whatever the number of processes, the same jobs are done; only their order in time differs. A job whose results are
    there is not done again, and of jobs of the same digest one is done and the others get its results.

    Parameters
    ----------
    executor
        Calls `perform`.
    slots
        Jobs at once.
    observer
        Called now and then, and whenever a job has ended.

    Attributes
    ----------
    entries
        All jobs that are known by now, by folder, in the order of their coming.
    """

    def __init__(self, executor: Executor, slots: int, observer: Observer | None = None) -> None:
        self.entries: dict[Path, Entry] = {}
        self.slots = slots
        self._executor = executor
        self._observer = observer
        self._done: dict[str, Path] = {}
        self._running: dict[Future[str], tuple[Entry, float]] = {}
        self._waiting: list[tuple[Program, list[Entry]]] = []

    @property
    def failures(self) -> list[Entry]:
        """Jobs that failed."""
        return [entry for entry in self.entries.values() if entry.state is State.FAILED]

    def run(self, programs: Iterable[Program]) -> None:
        """Do all jobs of all programs.

        Raises
        ------
        UserError
            A worker process died.
        """
        for program in programs:
            self._advance(program)
        while self._waiting:
            self._submit()
            ended, _ = wait(self._running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in ended:
                self._take(future)
            self._advance_all()
            self._observe()
        self._observe()

    def _advance_all(self) -> None:
        ready = [program for program, batch in self._waiting if all(entry.settled for entry in batch)]
        self._waiting = [(program, batch) for program, batch in self._waiting if program not in ready]
        for program in ready:
            self._advance(program)

    def _advance(self, program: Program) -> None:
        """Take a program's jobs, until there are some to wait for or no more."""
        for jobs in program:
            batch = [self._enter(job) for job in jobs]
            if not all(entry.settled for entry in batch):
                self._waiting.append((program, batch))
                return

    def _enter(self, job: Job) -> Entry:
        if job.folder in self.entries:
            return self.entries[job.folder]
        entry = self.entries[job.folder] = Entry(job)
        if job.finished:
            tidy(job)
            entry.earlier = True
            self._finish(entry)
        elif job.digest in self._done:
            self._adopt(entry)
        return entry

    def _finish(self, entry: Entry) -> None:
        entry.state = State.FINISHED
        entry.seconds = read_results(entry.job.folder).seconds.total
        self._done.setdefault(entry.job.digest, entry.job.folder)

    def _adopt(self, entry: Entry) -> None:
        adopt(entry.job, self._done[entry.job.digest])
        self._finish(entry)

    def _submit(self) -> None:
        """Start jobs while there are processes for them: trials first, as others wait for them."""
        busy = {entry.job.digest for entry, _ in self._running.values()}
        waiting = [entry for entry in self.entries.values() if entry.state is State.WAITING]
        for entry in sorted(waiting, key=lambda entry: entry.job.stage):
            if len(self._running) >= self.slots:
                return
            if entry.job.digest not in busy:
                busy.add(entry.job.digest)
                entry.state = State.RUNNING
                self._running[self._call(entry.job)] = (entry, time.monotonic())

    def _call(self, job: Job) -> Future[str]:
        try:
            return self._executor.submit(perform, job)
        except BrokenProcessPool:
            raise _died() from None

    def _take(self, future: Future[str]) -> None:
        entry, began = self._running.pop(future)
        try:
            problem = future.result()
        except BrokenProcessPool:
            raise _died() from None
        same = [
            other
            for other in self.entries.values()
            if other.state is State.WAITING and other.job.digest == entry.job.digest
        ]
        if problem:
            for failed in (entry, *same):
                failed.state, failed.problem = State.FAILED, problem
            return
        self._finish(entry)
        entry.seconds = time.monotonic() - began
        for other in same:
            self._adopt(other)

    def _observe(self) -> None:
        if self._observer is not None:
            self._observer(self)


def _died() -> UserError:
    return UserError(
        "a worker process was ended from outside, perhaps for want of memory: the same command goes on from here, "
        "with fewer --jobs if need be"
    )
