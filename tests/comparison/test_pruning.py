from __future__ import annotations

import math
from pathlib import Path

import pytest
from compared import run_results

from pfmsmtrec_flwr.comparison.pruning import FIRST_TRIALS, floor_of, is_hopeless, is_repeated, run_score, score_curve
from pfmsmtrec_flwr.results.rounds import MetricsLog
from pfmsmtrec_flwr.results.writer import write_results

CURVES = [[0.5 + 0.01 * level + 0.02 * number for number in range(6)] for level in range(5)]


def log_rounds(folder: Path, rounds: list[tuple[float | None, float | None]]) -> None:
    log = MetricsLog(folder, method="alone", rounds=3)
    for number, (first, second) in enumerate(rounds, start=1):
        log.append(
            number,
            {
                "A": {"validation": {"ctr": {"auc": first, "logloss": 0.2}, "cvr": {"auc": first and 0.5}}},
                "B": {"validation": {"ctr": {"auc": second, "logloss": 0.1 * number}, "cvr": {"auc": None}}},
            },
        )


def test_the_score_is_over_scenarios_and_tasks_at_the_selected_round_of_each(tmp_path: Path) -> None:
    log_rounds(tmp_path, [(0.5, 0.6), (0.8, 0.7), (0.6, 0.9)])
    for selected, expected in ((1, (0.5 + 0.5 + 0.6) / 3), (2, (0.8 + 0.5 + 0.7) / 3)):
        write_results(run_results("alone", 0, {"A": {}, "B": {}}, selected=selected), tmp_path)
        assert run_score(tmp_path) == pytest.approx(expected)
    one = run_results("alone", 0, {"A": {}}, selected=2)
    other = run_results("alone", 0, {"B": {}}, selected=3)
    write_results(one.model_copy(update={"scenarios": {**one.scenarios, **other.scenarios}}), tmp_path)
    assert run_score(tmp_path) == pytest.approx((0.8 + 0.5 + 0.9) / 3)


def test_without_any_auc_the_score_is_the_log_loss(tmp_path: Path) -> None:
    log_rounds(tmp_path, [(None, None), (None, None)])
    write_results(run_results("alone", 0, {"A": {}, "B": {}}, selected=2), tmp_path)
    assert run_score(tmp_path) == pytest.approx(-0.2)
    assert score_curve(tmp_path) == pytest.approx([-0.15, -0.15])


def test_a_curve_is_of_the_best_so_far(tmp_path: Path) -> None:
    assert list(score_curve(tmp_path)) == []
    log_rounds(tmp_path, [(0.5, 0.5), (0.8, 0.8), (0.6, 0.6)])
    assert score_curve(tmp_path) == pytest.approx([0.5, 0.7, 0.7])


def test_there_is_no_floor_before_there_are_trials_to_compare_with() -> None:
    assert floor_of([*CURVES[: FIRST_TRIALS - 1], []]) == ()
    assert not is_hopeless([0.0] * 20, ())


def test_the_floor_is_the_median_of_others_after_half_as_many_rounds() -> None:
    floor = floor_of(CURVES)
    assert len(floor) == 12
    assert floor[:3] == (-math.inf,) * 3
    assert floor[3:] == pytest.approx([CURVES[2][(number + 1) // 2 - 1] for number in range(4, 13)])
    short = floor_of([*CURVES[:4], CURVES[4][:2]])  # one that has ended early keeps its last value
    assert short[9] == pytest.approx(CURVES[1][4])


def test_a_run_below_the_floor_after_any_round_is_hopeless() -> None:
    floor = floor_of(CURVES)
    assert not is_hopeless(CURVES[0], floor)  # slow, yet not by half
    assert not is_hopeless([0.0, 0.0, 0.0], floor)
    assert is_hopeless([0.0, 0.0, 0.0, 0.0], floor)
    assert is_hopeless([0.56] * 30, floor)
    assert not is_hopeless([0.56] * 6, floor)  # as good as the median was after three rounds
    assert is_hopeless([], floor) is False


def test_the_better_half_and_all_that_are_near_the_best_are_repeated() -> None:
    assert is_repeated(0.0, [0.7] * (FIRST_TRIALS - 1))
    earlier = [0.6, 0.62, 0.64, 0.7]
    assert is_repeated(0.63, earlier)
    assert not is_repeated(0.62, earlier)
    assert is_repeated(0.696, [0.698] * 3 + [0.7])
    assert not is_repeated(0.694, [0.698] * 3 + [0.7])
