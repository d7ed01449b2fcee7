from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from compared import Direct, Fake, job_of, program

from pfmsmtrec_flwr.comparison import schedule
from pfmsmtrec_flwr.comparison.jobs import Job, JobStage
from pfmsmtrec_flwr.comparison.schedule import JobState, Schedule
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "journal", fails=("fedavg",))


def config(seed: int, method: str = "alone") -> RunConfig:
    return RunConfig(method=method, seed=seed)


class Holding(Executor):
    """Does calls when it is told to, the last first."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self.most = 0
        self._held: list[tuple[Future[Any], Any, Job]] = []

    def submit(self, call: Callable[..., Any], /, *jobs: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.folders.append(jobs[0].folder)
        self._held.append((future, call, jobs[0]))
        self.most = max(self.most, len(self._held))
        return future

    def release(self, _: Schedule) -> None:
        if self._held:
            future, call, job = self._held.pop()
            future.set_result(call(job))


def test_a_program_goes_on_when_its_jobs_are_done(tmp_path: Path, fake: Fake) -> None:
    first, second, third = (job_of(tmp_path / f"{seed}", config(seed), fake) for seed in range(3))
    seen: list[tuple[bool, ...]] = []

    def steps() -> Iterator[Sequence[Job]]:
        yield [first, second]
        seen.append((first.finished, second.finished))
        yield []
        yield [third]
        seen.append((third.finished,))

    plan = Schedule(Direct(), 2)
    plan.run([steps()])
    assert seen == [(True, True), (True,)]
    assert [entry.state for entry in plan.entries.values()] == [JobState.FINISHED] * 3
    assert not plan.failures


def test_what_is_finished_is_not_done_again(tmp_path: Path, fake: Fake) -> None:
    jobs = [job_of(tmp_path / f"{seed}", config(seed), fake) for seed in range(2)]
    Schedule(Direct(), 1).run([program(jobs[:1])])
    again = Schedule(Direct(), 1)
    again.run([program(jobs)])
    assert [call[1] for call in fake.calls] == [0, 1]
    assert [entry.earlier for entry in again.entries.values()] == [True, False]
    assert again.entries[jobs[0].folder].seconds == 2.0  # as the results say


def test_jobs_of_the_same_digest_share_one_run(tmp_path: Path, fake: Fake) -> None:
    one, same, late = (job_of(tmp_path / name, config(3), fake) for name in ("one", "same", "late"))
    Schedule(Direct(), 4).run([program([one]), program([same], [late])])
    assert len(fake.calls) == 1
    assert all(job.finished for job in (one, same, late))
    assert (same.folder / "results.json").read_text() == (one.folder / "results.json").read_text()


def test_a_stopped_trial_is_settled_and_a_run_of_the_same_digest_is_run(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "journal", rounds=6)
    trial = job_of(tmp_path / "trial", config(0), fake, stage=JobStage.TRIAL, floor=(2.0,))
    run = job_of(tmp_path / "run", config(0), fake)
    plan = Schedule(Direct(), 1)
    plan.run([program([trial]), program([run])])
    assert [entry.state for entry in plan.entries.values()] == [JobState.STOPPED, JobState.FINISHED]
    assert not plan.failures
    assert [Path(folder).name for _, _, folder in fake.calls] == ["trial", "run"]
    again = Schedule(Direct(), 1)
    again.run([program([trial])])
    assert [(entry.state, entry.earlier) for entry in again.entries.values()] == [(JobState.STOPPED, True)]
    assert len(fake.calls) == 2


def test_finished_jobs_of_other_code_are_known(tmp_path: Path, fake: Fake) -> None:
    Schedule(Direct(), 1).run([program([job_of(tmp_path / "one", config(0), fake, sources="one")])])
    for fresh, known, calls in ((False, ["one"], 2), (True, [], 3)):
        jobs = [
            job_of(tmp_path / name, config(seed), fake, sources="other", fresh=fresh)
            for seed, name in enumerate(("one", "two"))
        ]
        plan = Schedule(Direct(), 1)
        plan.run([program(jobs)])
        assert [entry.job.folder.name for entry in plan.by_other_code] == known
        assert len(fake.calls) == calls


def test_a_failure_stops_nobody_else_and_is_tried_again(tmp_path: Path, fake: Fake) -> None:
    bad = job_of(tmp_path / "bad", config(0, "fedavg"), fake)
    same = job_of(tmp_path / "same", config(0, "fedavg"), fake)
    good = job_of(tmp_path / "good", config(0), fake)
    failing = Schedule(Direct(), 1)
    failing.run([program([bad, same]), program([good])])
    assert good.finished
    assert [(entry.job, entry.problem) for entry in failing.failures] == [
        (bad, "fedavg does not train"),
        (same, "fedavg does not train"),
    ]
    Schedule(Direct(), 1).run([program([bad])])
    assert [call[0] for call in fake.calls].count("fedavg") == 2


def test_trials_come_first_and_slots_are_the_most_at_once(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_POLL_SECONDS", 0.0)
    executor = Holding()
    runs = [job_of(tmp_path / f"run{seed}", config(seed), fake) for seed in range(4)]
    trial = job_of(tmp_path / "trial", config(9), fake, stage=JobStage.TRIAL)
    Schedule(executor, 2, executor.release).run([program(runs), program([trial])])
    assert executor.folders == [trial.folder, *(job.folder for job in runs)]
    assert executor.most == 2
    assert all(job.finished for job in (*runs, trial))


class Dead(Executor):
    """All of its processes have died."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(BrokenProcessPool("gone"))
        return future


def test_a_dead_worker_is_told(tmp_path: Path, fake: Fake) -> None:
    with pytest.raises(UserError, match=r"^a worker process was ended from outside, .* with fewer --jobs if need be$"):
        Schedule(Dead(), 1).run([program([job_of(tmp_path / "it", config(0), fake)])])


def test_the_observer_sees_the_end(tmp_path: Path, fake: Fake) -> None:
    seen: list[int] = []

    def observe(shown: Schedule) -> None:
        seen.append(sum(entry.settled for entry in shown.entries.values()))

    Schedule(Direct(), 1, observe).run([program([job_of(tmp_path / f"{seed}", config(seed), fake) for seed in (0, 1)])])
    assert seen == [1, 2, 2]
