from __future__ import annotations

from typing import Any

import pytest
import torch
from federated import Tiny

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.trainer import Fitted, LocalTrainer
from pfmsmtrec_flwr.federation.protocol import Order
from pfmsmtrec_flwr.model import ScenarioModel, build_model
from pfmsmtrec_flwr.training.description import model_spec


def trainer_of(tiny: Tiny, **settings: Any) -> LocalTrainer:
    rows = ScenarioStore.open(tiny.root / "tiny" / "US").splits["train"]
    return LocalTrainer("US", rows, tiny.config(**settings), torch.device("cpu"))


@pytest.fixture
def model(tiny: Tiny) -> ScenarioModel:
    return build_model(model_spec(ScenarioStore.open(tiny.root / "tiny" / "US")), tiny.config().model, 1)


def fitted(trainer: LocalTrainer, model: ScenarioModel, memory: ClientMemory, **more: Any) -> Fitted:
    return trainer.fit(model, Order(trainer.config.model_dump_json(), "fedavg", 1, 1), (), memory, **more)


def test_the_moments_of_an_exchange_are_where_the_next_one_starts(tiny: Tiny, model: ScenarioModel) -> None:
    trainer = trainer_of(tiny, train__optimizer_state="keep")
    first = fitted(trainer, model, ClientMemory())
    resumed = trainer.moments(trainer.resume_optimizer(model, first.memory), model)
    assert resumed.keys() == first.memory.optimizer.keys() == {name for name, _ in model.named_parameters()}
    for name, moments in resumed.items():
        assert all(torch.equal(value, first.memory.optimizer[name][kind]) for kind, value in moments.items())
    second = fitted(trainer, model, first.memory, steps=2)
    assert second.memory.optimizer["gates.of_task.click.weight"]["step"].item() == 3 + 2
    assert second.report.steps == 2


def test_moments_that_are_reset_are_neither_used_nor_returned(tiny: Tiny, model: ScenarioModel) -> None:
    kept = fitted(trainer_of(tiny, train__optimizer_state="keep"), model, ClientMemory()).memory
    trainer = trainer_of(tiny, train__optimizer_state="reset")
    optimizer = trainer.resume_optimizer(model, kept)
    assert not any(optimizer.moments_of(parameter) for parameter in model.parameters())
    assert fitted(trainer, model, kept).memory.is_empty


def test_trainings_of_one_purpose_see_the_same_batches(tiny: Tiny) -> None:
    spec = model_spec(ScenarioStore.open(tiny.root / "tiny" / "US"))
    trainer = trainer_of(tiny)
    ends = []
    for purpose in ("train", "train", "train head"):
        model = build_model(spec, trainer.config.model, 1)
        fitted(trainer, model, ClientMemory(), purpose=purpose)
        ends.append(model.state_dict()["gates.of_task.click.weight"])
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
