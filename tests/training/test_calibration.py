"""Recalibration on validation rows: it restores the probabilities, keeps the order, and bears few labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from stores import split_of

from pfmsmtrec_flwr.training.calibration import (
    Calibration,
    IsotonicCurve,
    PlattCurve,
    fit_calibration,
    fit_isotonic,
    fit_platt,
)
from pfmsmtrec_flwr.training.evaluation import Predictions


def drawn(rows: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Log odds of which 0.5 times the value, less 1, are the true ones, and labels."""
    draw = np.random.default_rng(seed)
    log_odds = draw.normal(-1, 2, rows)
    return log_odds, (draw.random(rows) < expit(0.5 * log_odds - 1)).astype(np.uint8)


def test_a_platt_curve_finds_the_true_probabilities() -> None:
    log_odds, labels = drawn(40_000)
    curve = fit_platt(log_odds, labels)
    assert curve.slope == pytest.approx(0.5, abs=0.02)
    assert curve.intercept == pytest.approx(-1, abs=0.04)
    assert curve.apply(log_odds).sum() == pytest.approx(labels.sum(), rel=1e-3)


def test_an_isotonic_curve_finds_the_true_probabilities_and_ties() -> None:
    log_odds, labels = drawn(40_000)
    curve = fit_isotonic(log_odds, labels)
    found = curve.apply(log_odds)
    assert np.abs(found - expit(0.5 * log_odds - 1)).mean() < 0.02
    assert found.sum() == pytest.approx(labels.sum(), rel=1e-3)
    assert found.min() > 0 and found.max() < 1
    assert len(np.unique(found)) < 1000
    order = np.argsort(log_odds)
    assert (np.diff(found[order]) >= 0).all()


def test_few_labels_that_are_separated_give_no_extreme_curve() -> None:
    log_odds, labels = np.arange(10.0), np.array([0] * 9 + [1], np.uint8)
    curve = fit_platt(log_odds, labels)
    assert 0 < curve.slope < 1
    assert 0.3 < curve.apply(np.array([9.0])) < 2 / 3


@pytest.mark.parametrize("log_odds", [[2.0, 1.0, 0.0, -1.0], [0.5, 0.5, 0.5, 0.5]])
def test_predictions_worse_than_chance_or_all_alike_are_shifted_only(log_odds: list[float]) -> None:
    labels = np.array([0, 0, 0, 1], np.uint8)
    curve = fit_platt(np.array(log_odds), labels)
    assert curve.slope == 1
    targets = 3 * (1 / 5) + 2 / 3
    assert curve.apply(np.array(log_odds)).sum() == pytest.approx(targets)


def test_a_task_with_few_positives_or_negatives_keeps_its_predictions(logged: list[str]) -> None:
    rows = split_of([[1]] * 200, [[row % 2, 0, row > 98] for row in range(200)])  # 99 negatives of c
    predictions = Predictions.of(np.full((200, 3), 0.25, np.float32))
    calibration = fit_calibration("platt", predictions, rows, ["a", "b", "c"], "NL")
    assert logged == [
        "NL: not calibrated, as fewer than 100 validation rows are positive, or negative: b (0 of 200), c (101 of 200)",
    ]
    assert calibration is not None and list(calibration.tasks) == ["a"]
    found = calibration.apply(predictions, ["a", "b", "c"])
    np.testing.assert_allclose(found, [[0.5, 0.25, 0.25]] * 200, atol=1e-6)
    figures = calibration.figures(predictions, rows, ["a", "b", "c"], "test.")
    assert figures["test.calibration_calibrated.a"] == pytest.approx(1)
    assert figures["test.calibration_calibrated.c"] == pytest.approx(0.25 * 200 / 101)
    assert "test.calibration_calibrated.b" not in figures
    assert [figures[f"test.calibrated.{task}"] for task in "abc"] == [1, 0, 0]


def test_rows_without_a_label_do_not_count() -> None:
    rows = replace(split_of([[1]] * 600, [[0], [1], [0], [1]] * 100 + [[255], [255]] * 100), unlabelled=True)
    labelled = rows.take(np.arange(400))
    values = np.array([[0.1], [0.4], [0.2], [0.3]] * 100 + [[0.9], [0.9]] * 100, np.float32)
    found = fit_calibration("platt", Predictions.of(values), rows, ["a"], "NL")
    alone = fit_calibration("platt", Predictions.of(values[:400]), labelled, ["a"], "NL")
    assert found == alone
    assert found is not None and (found.tasks["a"].rows, found.tasks["a"].positives) == (400, 200)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_a_calibration_says_what_it_was_fitted_on_and_survives_json(kind: str) -> None:
    log_odds, labels = drawn(500)
    predictions = Predictions(expit(log_odds)[:, None].astype(np.float32), log_odds[:, None])
    rows = split_of([[1]] * 500, labels[:, None].tolist())
    calibration = fit_calibration(kind, predictions, rows, ["a"], "NL")  # type: ignore[arg-type]
    assert calibration is not None
    own = calibration.tasks["a"]
    assert isinstance(own.curve, PlattCurve if kind == "platt" else IsotonicCurve)
    assert (own.rows, own.positives) == (500, labels.sum())
    assert own.before == pytest.approx(expit(log_odds).sum() / labels.sum())
    assert own.before > 1.4 and own.after == pytest.approx(1, abs=0.01)
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration


def test_no_calibration_on_demand() -> None:
    assert (
        fit_calibration("none", Predictions.of(np.zeros((2, 1), np.float32)), split_of([[1], [2]]), ["a"], "") is None
    )
