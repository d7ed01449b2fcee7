"""Predictors without a network are saved as they predict, also a scenario's share of pooled ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stores import split_of, store_of

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.methods import CentralMethod, find_method
from pfmsmtrec_flwr.scoring.floor_model import FloorModel, LinearPredictor, TreePredictor
from pfmsmtrec_flwr.validation import parse

FIELDS = [Field("item", 9, True), Field("user", 40, False), Field("tags", 6, False, 2), Field("genres", 50, True, 3)]
SIZES = (9, 40, 6, 6, 50, 50, 50)
METHODS = ("base-rate", "logistic-alone", "logistic-pooled", "trees-alone", "trees-pooled")


def drawn(seed: int, rows: int = 1500) -> Split:
    generator = np.random.default_rng(seed)
    values = generator.integers(0, SIZES, (rows, len(SIZES)))
    numbers = generator.standard_normal((rows, 2))
    log_odds = numbers[:, 0] + np.isin(values[:, 0], (2, 5, 7)) * 2 - 1 + (values[:, 1] % 3 - 1) + (values[:, 5] > 20)
    labels = generator.random((rows, 1)) < 1 / (1 + np.exp(-log_odds[:, None]))
    return split_of(values.tolist(), np.repeat(labels, 2, axis=1).astype(int).tolist(), numeric=numbers.tolist())


@pytest.fixture(scope="module")
def stores() -> list[ScenarioStore]:
    made = []
    for number, name in enumerate(("A", "B")):
        train, validation, test = (drawn(10 * number + place) for place in range(3))
        train = replace(train, labels=np.stack([train.labels[:, 0], np.zeros(len(train), np.uint8)], axis=1))
        made.append(store_of(name, FIELDS, {"train": train, "validation": validation, "test": test}))
    return made


def trained(method: str, stores: list[ScenarioStore], above: int) -> tuple[dict[str, FloorModel], dict[str, Split]]:
    """Return the models, read from their tensors, and the test rows of each scenario with all columns."""
    own = {} if method == "base-rate" else {"methods": {method: {"encode_above": above}}}
    config = parse(RunConfig, {"method": method, "train": {"threads": 1}, **own}, "test")
    known = find_method(method)
    assert isinstance(known, CentralMethod)
    result = known.train(known.configure(config), stores, None)
    models, rows = {}, {}
    for store in stores:
        saved = result.models[store.scenario]
        assert saved.kind == "floor" and (saved.scenario_value > 0) == method.endswith("pooled")
        models[store.scenario] = FloorModel.from_tensors(saved.spec, saved.tensors)
        test = store.splits["test"]
        number = np.full((len(test), 1), saved.scenario_value, np.int32)
        pooled = method.endswith("pooled")
        values = np.concatenate([test.categorical, number], axis=1) if pooled else test.categorical
        rows[store.scenario] = replace(test, categorical=values)
        found = models[store.scenario].predictions(rows[store.scenario])
        np.testing.assert_allclose(found.probabilities, result.predictions[store.scenario], rtol=0, atol=1e-6)
    return models, rows


@pytest.mark.parametrize("above", [0, 32])
@pytest.mark.parametrize("method", METHODS)
def test_a_saved_predictor_predicts_what_was_measured(stores: list[ScenarioStore], method: str, above: int) -> None:
    models, rows = trained(method, stores, above)
    for name, model in models.items():
        found = model.predictions(rows[name]).probabilities
        assert (found[:, 1] == 0).all()  # no training row is positive
        assert len(np.unique(found[:, 0])) > (0 if method == "base-rate" else 50)
        assert isinstance(model.predictors[0], TreePredictor if "trees" in method else LinearPredictor)
        assert isinstance(model.predictors[1], LinearPredictor)


def test_tensors_that_do_not_fit_are_refused(stores: list[ScenarioStore]) -> None:
    for method in ("logistic-alone", "trees-alone"):
        model = trained(method, stores, 32)[0]["A"]
        tensors, spec = model.tensors(), model.spec
        smaller = tuple(replace(field, rows=field.rows - (field.name == "user")) for field in spec.fields)
        for other in (replace(spec, fields=smaller), replace(spec, fields=spec.fields[1:]), replace(spec, numeric=3)):
            with pytest.raises(ValueError, match="the columns of task 0 are others"):
                FloorModel.from_tensors(other, tensors)
        with pytest.raises(ValueError, match="task 2 has no tensor 'numeric'"):
            FloorModel.from_tensors(replace(spec, tasks=("a", "b", "c")), tensors)
