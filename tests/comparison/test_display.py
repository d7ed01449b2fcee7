from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compared import Direct, Fake, job_of, program
from rich.console import Console

from pfmsmtrec_flwr.comparison.display import (
    Progress,
    ScheduleDisplay,
    job_line,
    progress,
    schedule_drawing,
    time_left,
)
from pfmsmtrec_flwr.comparison.jobs import JobStage
from pfmsmtrec_flwr.comparison.schedule import Entry, JobState, Schedule
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.results.rounds import MetricsLog


@pytest.fixture
def schedule(tmp_path: Path) -> Schedule:
    """Three runs of one variant, two of another: one finished after 30 s, one runs, one failed, two wait."""
    made = Schedule(Direct(), 2)
    states = (
        ("alone", JobState.FINISHED),
        ("alone", JobState.RUNNING),
        ("alone", JobState.WAITING),
        ("fedavg", JobState.FAILED),
        ("fedavg", JobState.WAITING),
    )
    for number, (name, state) in enumerate(states):
        job = job_of(tmp_path / f"seed{number}", RunConfig(method=name, seed=number), None, name=name)
        made.entries[job.folder] = Entry(job, state, seconds=30.0 if state is JobState.FINISHED else 0.0)
    log = MetricsLog(tmp_path / "seed1", method="alone", rounds=3)
    log.append(1, {"A": {"validation": {"ctr": {"auc": 0.6}, "cvr": {"auc": 0.7}}}})
    return made


def test_progress_is_told_by_variant(schedule: Schedule) -> None:
    approximately: Any = pytest.approx(0.65)
    assert progress(schedule) == [
        Progress("alone", JobStage.RUN, 1, 0, 3, approximately, 30.0, 60.0),
        Progress("fedavg", JobStage.RUN, 0, 1, 2, None, None, 30.0),  # the mean of all, as none of its own has finished
    ]
    assert time_left(schedule) == 45.0  # 90 s of work for two at once


def test_trials_are_counted_rather_than_their_runs(tmp_path: Path) -> None:
    made = Schedule(Direct(), 2)
    runs = ((1, JobState.FINISHED), (1, JobState.FINISHED), (2, JobState.STOPPED), (3, JobState.RUNNING))
    for place, (trial, state) in enumerate(runs):
        job = job_of(tmp_path / f"{place}", RunConfig(seed=place), None, name="alone", stage=JobStage.TRIAL)
        job = replace(job, trial=trial, trials=24)
        made.entries[job.folder] = Entry(job, state, seconds=10.0 if state is not JobState.RUNNING else 0.0)
    assert progress(made) == [Progress("alone", JobStage.TRIAL, 2, 0, 24, None, 15.0, 22 * 15.0)]
    stopped = list(made.entries.values())[2]
    assert job_line(made, stopped, 75.0).startswith("alone, trial 2 of 24, 2: stopped, 0:10; 3 of 4 done, 1:15 elapsed")


def test_no_time_is_told_before_a_job_has_finished(schedule: Schedule) -> None:
    next(iter(schedule.entries.values())).state = JobState.WAITING
    assert [each.left for each in progress(schedule)] == [None, None]
    assert time_left(schedule) is None


def test_a_terminal_has_a_table(schedule: Schedule) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None, _environ={})
    console.print(schedule_drawing(schedule, 75.0))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    rows = [line.split() for line in shown.splitlines()]
    assert ["alone", "run", "1", "of", "3", "0.6500", "0:30", "1:00"] in rows
    assert ["fedavg", "run", "0", "of", "2,", "1", "failed", "n/a", "n/a", "0:30"] in rows
    assert "1:15 elapsed, about 0:45 left" in shown


def test_a_terminal_is_redrawn_and_left_clean(schedule: Schedule) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    with ScheduleDisplay(console, clock=lambda: 0.0) as display:
        display.update(schedule)
        display.update(schedule)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.endswith("\x1b[1A\x1b[2K" * 4)  # all four lines of it are gone


def test_a_pipe_has_a_line_for_each_job_that_ended(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "journal", fails=("fedavg",))
    earlier = job_of(tmp_path / "earlier", RunConfig(method="alone", seed=1), fake, name="alone")
    Schedule(Direct(), 1).run([program([earlier])])
    good = job_of(tmp_path / "seed0-12345678", RunConfig(method="alone"), fake, name="alone", stage=JobStage.TRIAL)
    bad = job_of(tmp_path / "seed0-87654321", RunConfig(method="fedavg"), fake, name="[fedavg]")
    console = Console(file=io.StringIO(), width=20)
    with ScheduleDisplay(console, clock=lambda: 0.0) as display:
        Schedule(Direct(), 1, display.update).run([program([earlier, good, bad])])
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "alone, trial seed0-12345678: validation AUC 0.6000, 0:00; 2 of 3 done, 0:00 elapsed, about 0:01 left",
        "[fedavg], run seed0-87654321: failed: fedavg does not train; 3 of 3 done, 0:00 elapsed, about 0:00 left",
    ]
