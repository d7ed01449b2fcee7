from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from pfmsmtrec_flwr.results.progress import RunDisplay, RunWatch, clock_face, run_line
from pfmsmtrec_flwr.results.rounds import MetricsLog

SCENARIOS = {"NL": {"validation": {"ctr": {"auc": 0.625}, "ctcvr": {"auc": None}}}}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Callable[[str], MetricsLog]:
    def make(method: str) -> MetricsLog:
        folder = tmp_path if method == "pf-msmtrec" else tmp_path / method
        return MetricsLog(folder, method=method, rounds=4, clock=clock)

    return make


def test_before_the_first_round_the_caller_names_the_phase(tmp_path: Path, clock: Clock) -> None:
    watch = RunWatch(tmp_path, "pf-msmtrec", opening=lambda: "waiting for clients", clock=clock)
    clock.now = 9.4
    assert run_line(watch.look()) == "waiting for clients, 0:09 elapsed"


def test_the_time_left_follows_from_the_rounds_after_the_first(
    tmp_path: Path, clock: Clock, log: Callable[[str], MetricsLog]
) -> None:
    watch = RunWatch(tmp_path, "pf-msmtrec", clock=clock)
    ours = log("pf-msmtrec")
    clock.now = 20  # the first round waits for the clients to start
    ours.append(1, SCENARIOS)
    assert watch.look().left == 60
    clock.now = 22
    ours.append(2, SCENARIOS)
    state = watch.look()
    assert (state.left, state.done) == (4, 0.5)
    assert run_line(state) == (
        "pf-msmtrec: round 2 of 4, validation AUC ctr 0.6250 ctcvr n/a, 0:22 elapsed, at most 0:04 left"
    )


def test_a_mean_over_fewer_scenarios_says_so(tmp_path: Path, clock: Clock, log: Callable[[str], MetricsLog]) -> None:
    watch = RunWatch(tmp_path, "pf-msmtrec", clock=clock)
    log("pf-msmtrec").append(1, SCENARIOS, unmeasured={"US", "FR"})
    assert "AUC ctr 0.6250 ctcvr n/a (1 of 3 scenarios, without FR, US), 0:00" in run_line(watch.look())


def test_methods_that_are_still_to_come_take_as_long(
    tmp_path: Path, clock: Clock, log: Callable[[str], MetricsLog]
) -> None:
    watch = RunWatch(tmp_path, "pf-msmtrec", ["alone"], clock=clock)
    alone = log("alone")
    for round_number in (1, 2, 3):
        clock.now += 2
        alone.append(round_number, SCENARIOS)
    assert (watch.look().left, watch.look().done) == (2 + 8, 3 / 8)
    ours = log("pf-msmtrec")
    clock.now += 2
    ours.append(1, SCENARIOS)
    state = watch.look()
    assert state.current is not None
    assert state.current.method == "pf-msmtrec"  # `alone` has stopped early
    assert (state.left, state.done) == (6, 5 / 8)
    clock.now += 6
    ours.append(4, SCENARIOS)
    assert (watch.look().phase, watch.look().done) == ("finishing", 1)


def test_what_a_failed_run_left_behind_does_not_count(
    tmp_path: Path, clock: Clock, log: Callable[[str], MetricsLog]
) -> None:
    log("pf-msmtrec").append(3, SCENARIOS)
    watch = RunWatch(tmp_path, "pf-msmtrec", clock=clock)
    assert watch.look().current is None
    log("pf-msmtrec").append(1, SCENARIOS)
    assert watch.look().phase == "round 1 of 4"


def test_without_a_terminal_each_round_is_one_line(
    tmp_path: Path, clock: Clock, log: Callable[[str], MetricsLog]
) -> None:
    printed = io.StringIO()
    with RunDisplay(RunWatch(tmp_path, "pf-msmtrec", clock=clock), Console(file=printed, width=40)) as display:
        display.update()
        ours = log("pf-msmtrec")
        clock.now = 1
        ours.append(1, SCENARIOS)
        display.update()
        display.update()
    assert printed.getvalue().splitlines() == [
        "starting, 0:00 elapsed",
        "pf-msmtrec: round 1 of 4, validation AUC ctr 0.6250 ctcvr n/a, 0:01 elapsed, at most 0:03 left",
    ]


def test_a_terminal_shows_every_scenario_and_task(
    tmp_path: Path, clock: Clock, log: Callable[[str], MetricsLog]
) -> None:
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, width=100, color_system=None)
    with RunDisplay(RunWatch(tmp_path, "pf-msmtrec", clock=clock), console) as display:
        log("pf-msmtrec").append(1, SCENARIOS | {"US": {"validation": {"ctr": {"auc": 0.75}}}})
        display.update()
    words = [row.split() for row in printed.getvalue().splitlines()]
    assert ["scenario", "ctr", "ctcvr"] in words
    assert ["NL", "0.6250", "n/a"] in words
    assert ["US", "0.7500", "n/a"] in words
    assert ["mean", "0.6875", "n/a"] in words


@pytest.mark.parametrize(("seconds", "face"), [(0, "0:00"), (59.6, "1:00"), (3600, "1:00:00")])
def test_clock_face(seconds: float, face: str) -> None:
    assert clock_face(seconds) == face
