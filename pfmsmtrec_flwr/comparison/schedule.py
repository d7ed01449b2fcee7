"""Schedule of jobs: several at once, each run once and after those that it needs."""

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
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.results.writer import read_results

Program = Iterator[Sequence[Job]]
"""Batches of jobs: each batch needs the results of those before it."""

_POLL_SECONDS = 0.5


class JobState(Enum):
    """State of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class Entry:
    """A job on the schedule.

    Attributes
    ----------
    job
        The job.
    state
        State of the job.
    earlier
        Whether the results existed before.
    seconds
        Duration of the job, once it has finished or was stopped.
    problem
        Reason of its failure.
    """

    job: Job
    state: JobState = JobState.WAITING
    earlier: bool = False
    seconds: float = 0.0
    problem: str = ""

    @property
    def settled(self) -> bool:
        """Whether the job has finished, was stopped, or failed."""
        return self.state in (JobState.FINISHED, JobState.STOPPED, JobState.FAILED)


Observer = Callable[["Schedule"], None]


class Schedule:
    """Runs programs side by side.

    The number of processes changes only the order of the jobs in time, not which jobs are run. A job whose results
    exist is not run again. One of the jobs with the same digest is run, and the others get its results.

    Parameters
    ----------
    executor
        Executor that calls `perform`.
    slots
        Number of jobs at once.
    observer
        Function called at intervals, and whenever a job has ended.

    Attributes
    ----------
    entries
        All jobs known so far, by folder, in the order of their arrival.
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
        return [entry for entry in self.entries.values() if entry.state is JobState.FAILED]

    @property
    def by_other_code(self) -> list[Entry]:
        """Finished jobs that other code of the package has done."""
        finished = [entry for entry in self.entries.values() if entry.state is JobState.FINISHED]
        return [entry for entry in finished if entry.job.by_other_code]

    def run(self, programs: Iterable[Program]) -> None:
        """Run all jobs of all programs.

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
        """Enter a program's jobs until some of them have to be waited for."""
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
        elif job.stopped:
            tidy(job)
            entry.earlier = True
            entry.state = JobState.STOPPED
            entry.seconds = read_metrics(job.folder)[-1].seconds
        elif job.digest in self._done:
            self._adopt(entry)
        return entry

    def _finish(self, entry: Entry) -> None:
        entry.state = JobState.FINISHED
        entry.seconds = read_results(entry.job.folder).seconds.total
        self._done.setdefault(entry.job.digest, entry.job.folder)

    def _adopt(self, entry: Entry) -> None:
        adopt(entry.job, self._done[entry.job.digest])
        self._finish(entry)

    def _submit(self) -> None:
        """Start jobs while there are free processes: trials first, as other jobs wait for them."""
        busy = {entry.job.digest for entry, _ in self._running.values()}
        waiting = [entry for entry in self.entries.values() if entry.state is JobState.WAITING]
        for entry in sorted(waiting, key=lambda entry: entry.job.stage):
            if len(self._running) >= self.slots:
                return
            if entry.job.digest not in busy:
                busy.add(entry.job.digest)
                entry.state = JobState.RUNNING
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
            if other.state is JobState.WAITING and other.job.digest == entry.job.digest
        ]
        if problem:
            for failed in (entry, *same):
                failed.state, failed.problem = JobState.FAILED, problem
            return
        if not entry.job.finished:  # a run without results and without a problem was stopped: the others need their own
            entry.state, entry.seconds = JobState.STOPPED, time.monotonic() - began
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
