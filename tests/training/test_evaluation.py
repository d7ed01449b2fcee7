"""Predictions on held-out rows and their metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, build_model
from pfmsmtrec_flwr.training import evaluation
from pfmsmtrec_flwr.training.evaluation import measure, predict

CPU = torch.device("cpu")
TASKS = ("ctr", "cvr")


def build() -> ScenarioModel:
    spec = ModelSpec((FieldSpec("item", 6, True),), 2, TASKS)
    return build_model(spec, ModelSettings(embedding_dim=2, experts=2, expert_layers=(4,), tower_layers=(3,)), seed=0)


def split_of(rows: int, *, users: bool = True) -> Split:
    generator = np.random.default_rng(0)
    return Split(
        categorical=generator.integers(0, 6, (rows, 1)).astype(np.int32),
        numeric=generator.normal(size=(rows, 2)).astype(np.float32),
        labels=generator.integers(0, 2, (rows, 2)).astype(np.uint8),
        users=generator.integers(0, 5, rows) if users else None,
        probabilities=None,
    )


def test_predictions_are_in_the_order_of_the_rows() -> None:
    model, split = build().train(), split_of(20)
    predicted = predict(model, split, CPU)
    assert not model.training
    assert predicted.dtype == np.float32
    with torch.no_grad():
        logits = model(torch.from_numpy(split.categorical), torch.from_numpy(split.numeric))
    np.testing.assert_allclose(predicted, torch.sigmoid(logits).numpy(), rtol=1e-6)


def test_the_size_of_the_batches_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model, split = build(), split_of(22)
    whole = predict(model, split, CPU)
    monkeypatch.setattr(evaluation, "EVALUATION_ROWS", 7)
    np.testing.assert_allclose(predict(model, split, CPU), whole, rtol=1e-5)


def test_predicting_changes_nothing() -> None:
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict(model, split_of(10), CPU)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_each_task_is_measured_on_its_own_column() -> None:
    split = split_of(40)
    probabilities = split.labels.astype(np.float32)
    probabilities[:, 1] = 1 - probabilities[:, 1]
    measured = measure(probabilities, split, TASKS, grouped=True)
    assert list(measured) == list(TASKS)
    assert (measured["ctr"].auc, measured["cvr"].auc) == (1.0, 0.0)
    assert (measured["ctr"].gauc, measured["cvr"].gauc) == (1.0, 0.0)


@pytest.mark.parametrize(("grouped", "users"), [(False, True), (True, False)])
def test_grouped_figures_need_users_and_a_wish(grouped: bool, users: bool) -> None:
    split = split_of(40, users=users)
    assert measure(np.full((40, 2), 0.5, dtype=np.float32), split, TASKS, grouped=grouped)["ctr"].gauc is None
