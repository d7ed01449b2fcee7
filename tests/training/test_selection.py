from __future__ import annotations

import logging
from typing import Literal

import pytest

from pfmsmtrec_flwr.training.selection import NO_STANDING, RoundSelection, standing_of


def follow(selection: RoundSelection, rounds: list[dict[str, float | None]]) -> RoundSelection:
    for number, scores in enumerate(rounds, 1):
        selection.add(number, scores)
    return selection


ROUNDS: list[dict[str, float | None]] = [{"A": 0.5, "B": 0.7}, {"A": 0.9, "B": 0.6}, {"A": 0.8, "B": 0.65}]


def test_each_scenario_has_its_own_best_round() -> None:
    assert follow(RoundSelection("scenario", 0), ROUNDS).selected == {"A": 2, "B": 1}


def test_the_best_mean_counts_for_all() -> None:
    assert follow(RoundSelection("macro", 0), ROUNDS).selected == {"A": 2, "B": 2}


def test_a_tie_keeps_the_earlier_round() -> None:
    assert follow(RoundSelection("scenario", 0), [{"A": 0.5}, {"A": 0.5}]).selected == {"A": 1}
    assert follow(RoundSelection("macro", 0), [{"A": 0.5}, {"A": 0.5}]).selected == {"A": 1}


def test_each_score_counts_as_it_is() -> None:
    rounds: list[dict[str, float | None]] = [{"A": 0.4}, {"A": 0.8}, {"A": 0.7}]
    assert follow(RoundSelection("scenario", 0), rounds).selected == {"A": 2}
    assert follow(RoundSelection("macro", 0), rounds).selected == {"A": 2}


@pytest.mark.parametrize(("patience", "stops"), [(0, None), (1, 3), (2, 6)])
def test_patience(patience: int, stops: int | None) -> None:
    selection = RoundSelection("scenario", patience)
    stopped = None
    for number, score in enumerate([0.5, 0.6, 0.6, 0.7, 0.1, 0.7, 0.6], 1):
        selection.add(number, {"A": score})
        if selection.exhausted and stopped is None:
            stopped = number
    assert stopped == stops


def test_an_undefined_or_missing_score_keeps_the_choice() -> None:
    rounds: list[dict[str, float | None]] = [{"A": None, "B": 0.5}, {"A": None, "B": 0.6}, {"B": 0.4}, {"A": 0.1}]
    assert follow(RoundSelection("scenario", 0), rounds).selected == {"A": 4, "B": 2}
    undefined: list[dict[str, float | None]] = [{"A": None}, {"A": None}]
    for mode in ("scenario", "macro"):
        selection = follow(RoundSelection(mode, 1), undefined)
        assert selection.selected == {"A": 1}
        assert not selection.exhausted  # nothing stops early for want of a figure


def test_a_scenario_that_does_not_answer_counts_with_its_last_score() -> None:
    selection = RoundSelection("macro", patience=2)
    selection.add(1, {"NL": 0.8, "US": 0.6})
    selection.add(2, {"NL": 0.79})  # alone its mean would be the best so far
    assert selection.selected == {"NL": 1, "US": 1}
    selection.add(3, {"NL": 0.79, "US": 0.6})
    assert selection.exhausted


Losses = list[dict[str, float]]


def follow_both(selection: RoundSelection, rounds: list[dict[str, float | None]], losses: Losses) -> RoundSelection:
    for number, (scores, own) in enumerate(zip(rounds, losses, strict=True), 1):
        selection.add(number, scores, own)
    return selection


LOSSES: Losses = [{"A": 0.5, "B": 0.4}, {"A": 0.3, "B": 0.1}, {"A": 0.4, "B": 0.3}]


@pytest.mark.parametrize("mode", ["scenario", "macro"])
def test_without_an_auc_the_log_loss_chooses(
    mode: Literal["scenario", "macro"], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pfmsmtrec"):
        selection = follow_both(RoundSelection(mode, 2), [dict.fromkeys("AB")] * 3, LOSSES)
    assert selection.selected == {"A": 2, "B": 2}
    assert not selection.exhausted
    assert selection.figure == "log loss"
    said = "A, B: no validation AUC is defined (one class only), so the round is chosen by validation log loss"
    assert caplog.messages == [said]
    selection.add(4, {"A": None, "B": None}, {"A": 0.4, "B": 0.4})
    assert selection.exhausted


def test_one_scenario_without_an_auc_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    rounds: list[dict[str, float | None]] = [{"A": 0.6, "B": None}, {"A": 0.5, "B": None}, {"A": 0.7, "B": None}]
    with caplog.at_level(logging.WARNING, "pfmsmtrec"):
        assert follow_both(RoundSelection("scenario", 0), rounds, LOSSES).selected == {"A": 3, "B": 2}
        assert follow_both(RoundSelection("macro", 0), rounds, LOSSES).selected == {"A": 3, "B": 3}
    assert caplog.messages == [
        "B: no validation AUC is defined (one class only), so the round is chosen by validation log loss",
        "B: no validation AUC is defined (one class only), so the round is chosen by the mean AUC of the other "
        "scenarios",
    ]


def test_an_auc_stands_above_any_log_loss() -> None:
    assert standing_of([None, 0.5, 0.75], [0.1, 0.1, 0.1]) == (True, 0.625)
    assert standing_of([None, None], [0.25, None]) == (False, -0.25)
    assert standing_of([], []) == NO_STANDING < standing_of([None], [9.0]) < standing_of([0.0], [])


@pytest.mark.parametrize("odd", [1.0, 7.0, 1e300])
def test_an_auc_outside_its_range_has_no_more_to_say_than_one_at_its_end(odd: float) -> None:
    better: list[dict[str, float | None]] = [{"A": 0.5, "B": 0.5, "D": odd}, {"A": 0.9, "B": 0.9, "D": 0.25}]
    assert follow(RoundSelection("macro", 0), better).selected["A"] == 2
    worse: list[dict[str, float | None]] = [{"A": 0.9, "B": 0.9, "D": 0.25}, {"A": 0.5, "B": 0.5, "D": odd}]
    assert follow(RoundSelection("macro", 0), worse).selected["A"] == 1


def test_a_log_loss_below_zero_counts_as_zero_and_a_huge_one_as_the_largest() -> None:
    selection = RoundSelection("macro", 0)
    selection.add(1, {"A": None, "B": None}, {"A": -1e300, "B": 0.9})
    selection.add(2, {"A": None, "B": None}, {"A": 0.0, "B": 0.5})
    assert selection.selected["B"] == 2
    selection.add(3, {"A": None, "B": None}, {"A": 1e300, "B": 0.1})
    assert selection.selected["B"] == 2


def test_a_median_lets_no_minority_choose_the_round() -> None:
    rounds: list[dict[str, float | None]] = [
        {"A": 0.60, "B": 0.61, "C": 0.62, "D": 1.0},
        {"A": 0.70, "B": 0.71, "C": 0.72, "D": 0.0},
    ]
    assert follow(RoundSelection("macro", 0), rounds).selected["A"] == 1
    assert follow(RoundSelection("macro", 0, median=True), rounds).selected["A"] == 2


def test_a_scenario_that_is_measured_late_does_not_make_the_others_choose_an_early_round() -> None:
    rounds: list[dict[str, float | None]] = [{"A": 0.6, "B": 0.6}, {"A": 0.7, "B": 0.7, "D": 0.1}]
    assert follow(RoundSelection("macro", 0), rounds).selected == {"A": 2, "B": 2, "D": 2}
    later: list[dict[str, float | None]] = [
        *rounds,
        {"A": 0.69, "B": 0.69, "D": 0.3},
    ]  # from then on it counts as any other
    assert follow(RoundSelection("macro", 0), later).selected == {"A": 3, "B": 3, "D": 3}
    high: list[dict[str, float | None]] = [{"A": 0.6, "B": 0.6}, {"A": 0.5, "B": 0.5, "D": 1.0}]
    assert follow(RoundSelection("macro", 0), high).selected == {"A": 1, "B": 1, "D": 2}
