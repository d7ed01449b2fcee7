from __future__ import annotations

import math

import numpy as np
import pytest
from stores import split_of, store_of

from pfmsmtrec_flwr.central.outcome import check_rows, result_of, validation_of
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.training.evaluation import Predictions
from pfmsmtrec_flwr.training.records import RoundRecord

CONFIG = RunConfig()
RAW = CONFIG.with_settings({"evaluation.calibration": "none"}, "test")
PREDICTIONS = {
    "US": Predictions.of(np.full((4, 2), 0.25, np.float32)),
    "NL": Predictions.of(np.array([[0.9], [0.1]], np.float32)),
}
ITEM = [Field("item", 3, True)]
ROWS = split_of(
    [[1], [2], [1], [2]],
    [[1, 0], [0, 0], [1, 0], [0, 0]],
    users=[1, 1, 2, 3],
    truth=[[0.75, 0.25], [0.25, 0.25], [0.75, 0.25], [0.25, 0.25]],
)


def test_the_figures_of_validation_rows() -> None:
    figures = validation_of(np.full((4, 2), 0.5, np.float32), ROWS, ["click", "like"])
    assert figures["click"].auc == 0.5
    assert figures["like"].auc is None
    assert figures["like"].logloss == pytest.approx(math.log(2))


def test_a_result_has_what_a_federation_tells() -> None:
    stores = [store_of("US", ITEM, ROWS), store_of("NL", ITEM, split_of([[1], [2]]))]
    rounds = [RoundRecord(1)]
    result = result_of(stores, RAW, rounds, {"US": 1, "NL": 1}, PREDICTIONS, PREDICTIONS)
    assert result.calibrations == {}
    assert list(result.scenarios) == ["NL", "US"]
    assert result.scenarios["US"].train_positives == [2, 0]
    assert (result.scenarios["US"].used_rows, result.scenarios["US"].used_positives) == (4, [2, 0])
    assert result.rounds == rounds
    assert result.selected == {"US": 1, "NL": 1}
    assert result.test["US"] == {
        "auc.click": 0.5,
        "logloss.click": pytest.approx((-math.log(0.25) - math.log(0.75)) / 2),
        "gauc.click": 0.5,
        "gauc_coverage.click": 0.5,
        "calibration.click": 0.5,
        "positives.click": 2.0,
        "examples.click": 4.0,
        "logloss.like": pytest.approx(-math.log(0.75)),
        "gauc_coverage.like": 0.0,
        "positives.like": 0.0,
        "examples.like": 4.0,
    }
    assert result.test["NL"].keys() == {
        f"{figure}.click" for figure in ("auc", "logloss", "calibration", "positives", "examples")
    }
    assert result.best["NL"] == {}
    assert result.best["US"]["auc.click"] == 1.0
    assert "gauc.click" not in result.best["US"]


def test_a_result_has_the_figures_after_calibration() -> None:
    many = np.tile(np.arange(4), 50)
    stores = [store_of("US", ITEM, ROWS.take(many))]
    predictions = {"US": Predictions.of(PREDICTIONS["US"].probabilities[many])}
    result = result_of(stores, CONFIG, [RoundRecord(1)], {"US": 1}, predictions, predictions)
    assert result.predictions["US"] is predictions["US"].probabilities
    figures = result.test["US"]
    assert figures["calibration.click"] == 0.5
    assert figures["logloss.like"] == pytest.approx(-math.log(0.75))
    mean = (100 * 100 + 5 * 50) / 105 / 200  # 100 of 200 rows click, and the predictions are 50
    assert figures["calibration_calibrated.click"] == pytest.approx(mean / 0.5)
    assert figures["logloss_calibrated.click"] == pytest.approx(-(math.log(mean) + math.log(1 - mean)) / 2)
    assert figures["logloss_calibrated.like"] == pytest.approx(-math.log(1 - 0.25 / 11))


def test_scenarios_without_rows_are_refused() -> None:
    check_rows([store_of("US", ITEM, ROWS)])
    with pytest.raises(UserError, match=r"^got no scenario"):
        check_rows([])
    empty = {"train": ROWS, "validation": ROWS.take(np.arange(0)), "test": ROWS.take(np.arange(0))}
    with pytest.raises(UserError, match=r"^scenario US has no rows for test, validation: leave it out"):
        check_rows([store_of("US", ITEM, empty)])
