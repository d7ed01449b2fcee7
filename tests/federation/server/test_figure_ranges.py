from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.server.figure_ranges import (
    FigureRange,
    FigureRanges,
    check_figures,
    final_ranges,
    training_ranges,
    validation_ranges,
)

TRAINED = {"examples": 20, "loss.a": 0.5, "loss.b": 0.0}
VALIDATED = {
    "validation.auc.a": 0.7,
    "validation.logloss.a": 0.3,
    "gate.a.0": 0.25,
    "gate.a.1": 0.75,
}
TESTED = {
    "test.auc.a": 1.0,
    "test.logloss.a": 16.0,
    "test.gauc.a": 0.5,
    "test.gauc_coverage.a": 0.5,
    "test.calibration.a": 1.2,
    "test.positives.a": 3,
    "test.examples.a": 8,
    "test.logloss_calibrated.a": 0.3,
    "test.calibration_calibrated.a": 1.0,
}
TRAINING = training_ranges(["a", "b"], most_rows=20)
VALIDATION = validation_ranges(["a"], experts=2)
TEST = final_ranges(["a"], 8, calibrated=True, consensus=False)
ALL = [(TRAINED, TRAINING), (VALIDATED, VALIDATION), (TESTED, TEST), (TRAINED | VALIDATED, TRAINING | VALIDATION)]


@pytest.mark.parametrize(("figures", "ranges"), ALL)
def test_honest_figures_pass(figures: dict[str, float], ranges: FigureRanges) -> None:
    check_figures(figures, ranges)


@pytest.mark.parametrize(("figures", "ranges"), ALL)
def test_every_figure_is_checked(figures: dict[str, float], ranges: FigureRanges) -> None:
    for name in figures:
        for wrong in (-0.1, math.nan, math.inf):
            with pytest.raises(UserError, match=rf"^the figure {name} is ({wrong:g}, expected a |there, although )"):
                check_figures(figures | {name: wrong}, ranges)
        if "gauc" in name or name == "validation.auc.a":
            check_figures({other: figures[other] for other in figures if other != name}, ranges)
        else:
            with pytest.raises(UserError, match=r"^the figure [\w.]+ is (missing|there, although it is not defined)$"):
                check_figures({other: figures[other] for other in figures if other != name}, ranges)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"examples": 21}, "the figure examples is 21, expected a whole number from 1 to 20"),
        ({"examples": 0}, "the figure examples is 0, expected a whole number from 1 to 20"),
        ({"examples": 1.5}, "the figure examples is 1.5, expected a whole number from 1 to 20"),
        ({"loss.c": 0.5}, "the figure loss.c is unknown or was not asked for"),
        ({"validation.auc.a": 1.1}, "the figure validation.auc.a is 1.1, expected a finite number from 0 to 1"),
        ({"validation.logloss.a": 20}, "the figure validation.logloss.a is 20, expected a finite number from 0 to 16"),
        ({"gate.a.0": 0.3}, "the figures gate.a.0 to gate.a.1 sum to 1.05"),
        ({"gate.a.2": 0.0}, "the figure gate.a.2 is unknown or was not asked for"),
    ],
)
def test_figures_that_do_not_fit_are_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}"):
        check_figures(TRAINED | VALIDATED | change, TRAINING | VALIDATION)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test.examples.a": 9}, "the figure test.examples.a is 9, expected a whole number from 0 to 8"),
        ({"test.positives.a": 9}, "the figure test.positives.a is there, although it is not defined"),
        ({"test.positives.a": 0}, "the figure test.auc.a is there, although it is not defined"),
        ({"test.positives.a": 8}, "the figure test.auc.a is there, although it is not defined"),
        ({"test.calibration.a": 8.1}, "the figure test.calibration.a is 8.1, expected a finite number from 0 to 8"),
    ],
)
def test_test_figures_that_do_not_fit_their_counts_are_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}"):
        check_figures(TESTED | change, TEST)


def test_rows_of_one_class_have_no_auc() -> None:
    one_class = {name: value for name, value in TESTED.items() if ".auc" not in name}
    check_figures(one_class | {"test.positives.a": 8}, TEST)
    without = {name: value for name, value in one_class.items() if "calibration" not in name}
    check_figures(without | {"test.positives.a": 0}, TEST)


def test_figures_of_the_true_probabilities_are_all_there_or_none() -> None:
    best = {"best.auc.a": 0.9, "best.logloss.a": 0.1}
    check_figures(TESTED | best, TEST)
    for name in best:
        with pytest.raises(UserError, match=rf"^the figure {name} is missing$"):
            check_figures(TESTED | {other: best[other] for other in best if other != name}, TEST)


def test_a_consensus_is_measured_if_it_was_sent() -> None:
    ranges = final_ranges(["a"], 8, calibrated=False, consensus=True)
    figures = {name: value for name, value in TESTED.items() if "calibrated" not in name}
    counts = ("test.positives.a", "test.examples.a")
    consensus = {name.replace("test", "consensus"): value for name, value in figures.items() if name not in counts}
    check_figures(figures | consensus, ranges)
    with pytest.raises(UserError, match=r"the figure consensus\.auc\.a is missing"):
        check_figures(figures, ranges)
    with pytest.raises(UserError, match="is unknown or was not asked for"):
        check_figures(TESTED | consensus, TEST)


@given(st.floats(), st.floats(allow_nan=False), st.floats(allow_nan=False), st.booleans())
def test_a_range_has_finite_numbers_between_its_ends(value: float, low: float, high: float, whole: bool) -> None:
    inside = math.isfinite(value) and low <= value <= high and (not whole or value == int(value))
    assert FigureRange(low, high, whole).has(value) == inside
