"""The optimisers of a local training."""

from __future__ import annotations

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, build_model
from pfmsmtrec_flwr.training.local import trained_only
from pfmsmtrec_flwr.training.optimizers import make_optimizer

SPEC = ModelSpec((FieldSpec("user", 9, False), FieldSpec("item", 6, True)), 2, ("ctr", "cvr"))
SETTINGS = ModelSettings(embedding_dim=2, experts=2, expert_layers=(8,), tower_layers=(4,))
TABLES = {"federated_embeddings.weight", "local_embeddings.weight"}


def build() -> ScenarioModel:
    return build_model(SPEC, SETTINGS, seed=0)


def fill_gradients(model: ScenarioModel, value: float) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, value)


def moved(model: ScenarioModel, before: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}


def values(model: ScenarioModel) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_adam_has_all_parameters_by_default() -> None:
    model = build()
    optimizer = make_optimizer(model, TrainSettings(lr=0.25, weight_decay=0.5))
    (adam,) = optimizer.optimizers
    assert isinstance(adam, torch.optim.Adam)
    (group,) = adam.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.5)
    assert {id(parameter) for parameter in group["params"]} == {id(parameter) for parameter in model.parameters()}


def test_adagrad_has_the_tables_and_no_weight_decay() -> None:
    model = build()
    settings = TrainSettings(lr=0.25, weight_decay=0.5, embedding_optimizer="adagrad", embedding_lr=0.125)
    adam, adagrad = make_optimizer(model, settings).optimizers
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(parameter)] for parameter in adagrad.param_groups[0]["params"]} == TABLES
    assert {names[id(parameter)] for parameter in adam.param_groups[0]["params"]} == set(names.values()) - TABLES
    assert [(each.param_groups[0]["lr"], each.param_groups[0]["weight_decay"]) for each in (adam, adagrad)] == [
        (0.25, 0.5),
        (0.125, 0.0),
    ]


def test_adagrads_steps_shrink_with_the_root_of_their_number() -> None:
    model, rate = build(), 0.5
    optimizer = make_optimizer(model, TrainSettings(embedding_optimizer="adagrad", embedding_lr=rate))
    for step in range(1, 5):
        before = values(model)
        fill_gradients(model, 3.0)
        optimizer.step()
        change = moved(model, before)
        for name in TABLES:
            torch.testing.assert_close(change[name], torch.full_like(change[name], -rate / step**0.5))


def test_a_row_without_gradient_stays_whatever_the_weight_decay() -> None:
    model = build()
    optimizer = make_optimizer(model, TrainSettings(weight_decay=0.5, embedding_optimizer="adagrad"))
    before = values(model)
    fill_gradients(model, 1.0)
    for table in model.tables:
        assert table.weight.grad is not None
        table.weight.grad[1:] = 0.0
    optimizer.step()
    for name, change in moved(model, before).items():
        if name in TABLES:
            assert (change[0] != 0).all()
            assert (change[1:] == 0).all()


def test_gradients_are_forgotten() -> None:
    model = build()
    fill_gradients(model, 1.0)
    make_optimizer(model, TrainSettings(embedding_optimizer="adagrad")).zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_parameters_have_no_moments() -> None:
    model = build()
    with trained_only(model, TABLES):
        optimizer = make_optimizer(model, TrainSettings(embedding_optimizer="adagrad"))
        fill_gradients(model, 1.0)
        optimizer.step()
    moments = {name: optimizer.moments_of(parameter) for name, parameter in model.named_parameters()}
    assert {name for name, kept in moments.items() if kept} == TABLES
    assert moments["federated_embeddings.weight"].keys() == {"step", "sum"}
    assert len(optimizer.optimizers) == 1
