from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from federated import Tiny
from numpy.typing import NDArray
from stores import split_of, store_of

from pfmsmtrec_flwr.central.floor import Example, Predictor, fit_rate, train_floor
from pfmsmtrec_flwr.config import DataSettings, RunConfig
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.scoring.floor_model import KeptPredictor, LinearPredictor
from pfmsmtrec_flwr.training.records import RoundRecord

ITEM = [Field("item", 3, True), Field("person", 4, False)]
CONFIG = RunConfig()


def store(name: str, clicks: list[int], likes: list[int]) -> ScenarioStore:
    rows = split_of([[1, 2]] * len(clicks), [[click, like] for click, like in zip(clicks, likes, strict=True)])
    return store_of(name, ITEM, rows)


def test_the_base_rate_of_each_scenario() -> None:
    stores = [store("US", [1, 0, 0, 0], [1, 1, 0, 0]), store("NL", [1, 1, 1, 0], [1, 0, 0, 0])]
    told: list[RoundRecord] = []
    result = train_floor(CONFIG, stores, told.append, fit=fit_rate)
    assert result.rounds == told
    assert [record.round for record in told] == [1]
    assert result.selected == {"US": 1, "NL": 1}
    assert result.seconds >= told[0].train_seconds > 0
    quarter, half = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), math.log(2)
    expected = {"US": (quarter, half), "NL": (quarter, quarter)}
    for name, (click, like) in expected.items():
        assert told[0].validation[name]["click"].logloss == pytest.approx(click)
        assert result.test[name]["logloss.click"] == pytest.approx(click)
        assert result.test[name]["logloss.like"] == pytest.approx(like)
        assert result.test[name]["auc.click"] == 0.5
        assert result.test[name]["calibration.click"] == pytest.approx(1.0)


class Half:
    """Predictor of a half for every row."""

    def __call__(self, rows: Split) -> NDArray[np.floating]:
        return np.full(len(rows), 0.5)

    def kept(self) -> KeptPredictor:
        return LinearPredictor.constant(0.5)


class Recorded:
    """Fit that keeps its arguments and predicts a half."""

    def __init__(self) -> None:
        self.examples: list[Example] = []

    def __call__(self, config: RunConfig, example: Example) -> Predictor:
        assert config is CONFIG
        self.examples.append(example)
        return Half()


def test_alone_a_predictor_sees_a_scenario_and_pooled_all_of_them() -> None:
    stores = [store("A", [1, 0, 0], [1, 1, 0]), store("B", [1, 0], [0, 1])]
    alone, pooled = Recorded(), Recorded()
    train_floor(CONFIG, stores, fit=alone)
    train_floor(CONFIG, stores, fit=pooled, pooled=True)
    seen = [
        [(example.task, len(example.train), example.sizes) for example in each.examples] for each in (alone, pooled)
    ]
    assert seen[0] == [(0, 3, (3, 4)), (1, 3, (3, 4)), (0, 2, (3, 4)), (1, 2, (3, 4))]
    assert seen[1] == [(0, 5, (3, 7, 3)), (1, 5, (3, 7, 3))]
    assert pooled.examples[0].train.categorical[:, 1:].tolist() == [[2, 1]] * 3 + [[5, 2]] * 2
    assert len(pooled.examples[0].validation) == 5


@pytest.mark.parametrize(("labels", "rate"), [([0, 0, 0], 0.0), ([1, 1, 1], 1.0)])
def test_the_rate_is_predicted_where_there_is_one_class(labels: list[int], rate: float) -> None:
    fit = Recorded()
    measured = store("A", [1, 0, 1], [1, 0, 1]).splits["test"]
    trained = store("A", labels, [1, 0, 0])
    result = train_floor(CONFIG, [replace(trained, splits={**trained.splits, "test": measured})], fit=fit)
    assert [example.task for example in fit.examples] == [1]
    assert result.test["A"]["calibration.click"] == pytest.approx(rate * 3 / 2)
    assert result.test["A"]["calibration.like"] == pytest.approx(0.75)


def test_only_the_fraction_of_training_rows_is_seen(tiny: Tiny) -> None:
    whole = ScenarioStore.open(tiny.root / "tiny" / "NL")
    config = RunConfig(data=DataSettings(train_fraction=0.25))
    rates = [train_floor(each, [whole], fit=fit_rate).test["NL"] for each in (CONFIG, config)]
    positives = whole.splits["test"].labels[:, 0].sum()
    predicted = [figures["calibration.click"] * positives / 30 for figures in rates]
    assert predicted[0] == pytest.approx(whole.splits["train"].labels[:, 0].mean())
    assert predicted[1] * 24 == pytest.approx(round(predicted[1] * 24))  # of 24 rows
    assert predicted[0] != predicted[1]
