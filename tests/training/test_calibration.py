"""Recalibration on validation rows: it restores the probabilities, keeps the order, and bears few labels."""

from __future__ import annotations

from collections.abc import Callable
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


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_few_labels_leave_the_predictions_nearly_as_they_are(
    fit: Callable[[NDArray[np.float64], NDArray[np.uint8]], PlattCurve | IsotonicCurve],
) -> None:
    log_odds, labels = np.arange(-9.0, 1.0), np.array([0] * 9 + [1], np.uint8)  # separated without an error
    found = fit(log_odds, labels).apply(log_odds)
    share = 5 / 6  # of the predictions, beside a single positive
    np.testing.assert_allclose(found, (1 - share) * labels + share * expit(log_odds), atol=0.06)
    assert fit(log_odds[:1], labels[:1]).apply(log_odds[:1])[0] == pytest.approx(expit(-9.0), rel=1e-3)


@pytest.mark.parametrize("log_odds", [[2.0, 1.0, 0.0, -1.0], [0.5, 0.5, 0.5, 0.5]])
def test_predictions_worse_than_chance_or_all_alike_are_shifted_only(log_odds: list[float]) -> None:
    labels = np.array([0, 0, 0, 1] * 100, np.uint8)
    values = np.array(log_odds * 100)
    curve = fit_platt(values, labels)
    assert curve.slope == 1
    predicted = expit(values).sum()
    rarer = min(max(predicted, 100), max(400 - predicted, 300))
    assert curve.apply(values).sum() == pytest.approx((rarer * 100 + 5 * predicted) / (rarer + 5))


def test_a_curve_follows_the_labels_as_far_as_there_are_many() -> None:
    rows = split_of([[1]] * 200, [[row % 2, 0, row > 100, 255] for row in range(200)])
    rows = replace(rows, unlabelled=True)
    predictions = Predictions.of(np.full((200, 4), 0.25, np.float32))
    calibration = fit_calibration("platt", predictions, rows, ["a", "b", "c", "d"])
    assert calibration is not None and list(calibration.tasks) == ["a", "b", "c"]  # no label of d
    found = calibration.apply(predictions, ["a", "b", "c", "d"])
    a = (100 * 100 + 5 * 50) / 105 / 200  # 100 positives, of which 50 were predicted
    b = 5 * 50 / 55 / 200
    c = (99 * 99 + 5 * 50) / 104 / 200
    np.testing.assert_allclose(found, [[a, b, c, 0.25]] * 200, atol=1e-6)
    own = calibration.tasks
    assert (own["a"].before, own["b"].before, own["b"].after) == (0.5, None, None)
    figures = calibration.figures(predictions, rows, ["a", "b", "c"], "test.")
    assert own["a"].after == pytest.approx(2 * a)
    assert figures["test.calibration_calibrated.a"] == pytest.approx(2 * a)
    assert figures["test.logloss_calibrated.b"] == pytest.approx(-np.log(1 - b))
    assert "test.calibration_calibrated.b" not in figures


def test_rows_without_a_label_do_not_count() -> None:
    rows = replace(split_of([[1]] * 600, [[0], [1], [0], [1]] * 100 + [[255], [255]] * 100), unlabelled=True)
    labelled = rows.take(np.arange(400))
    values = np.array([[0.1], [0.4], [0.2], [0.3]] * 100 + [[0.9], [0.9]] * 100, np.float32)
    found = fit_calibration("platt", Predictions.of(values), rows, ["a"])
    alone = fit_calibration("platt", Predictions.of(values[:400]), labelled, ["a"])
    assert found == alone
    assert found is not None and (found.tasks["a"].rows, found.tasks["a"].positives) == (400, 200)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_a_calibration_says_what_it_was_fitted_on_and_survives_json(kind: str) -> None:
    log_odds, labels = drawn(500)
    predictions = Predictions(expit(log_odds)[:, None].astype(np.float32), log_odds[:, None])
    rows = split_of([[1]] * 500, labels[:, None].tolist())
    calibration = fit_calibration(kind, predictions, rows, ["a"])  # type: ignore[arg-type]
    assert calibration is not None
    own = calibration.tasks["a"]
    assert isinstance(own.curve, PlattCurve if kind == "platt" else IsotonicCurve)
    assert (own.rows, own.positives) == (500, labels.sum())
    assert own.before == pytest.approx(expit(log_odds).sum() / labels.sum())
    assert own.before is not None and own.before > 1.4
    predicted, observed = expit(log_odds).sum(), labels.sum()
    assert own.after == pytest.approx((predicted * observed + 5 * predicted) / (predicted + 5) / observed, rel=1e-4)
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration


def test_no_calibration_on_demand() -> None:
    assert fit_calibration("none", Predictions.of(np.zeros((2, 1), np.float32)), split_of([[1], [2]]), ["a"]) is None
