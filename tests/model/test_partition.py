"""Which tensor belongs to which part, by the type of its owner."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model import FieldSpec, MMoE, ModelSpec, Part, Slot, build_model, partition
from pfmsmtrec_flwr.model.template import Composition


def build(template: Composition = "hadamard") -> MMoE:
    spec = ModelSpec((FieldSpec("user", 7, False), FieldSpec("item", 5, True)), 2, ("ctr", "norm"))
    settings = ModelSettings(embedding_dim=2, experts=2, expert_layers=(4, 3), tower_layers=(5, 2), template=template)
    return build_model(spec, settings, seed=0)


@pytest.mark.parametrize("template", get_args(Composition))
def test_every_tensor_has_a_slot_in_the_states_order(template: Composition) -> None:
    model = build(template)
    slots = partition(model)
    assert list(slots) == list(model.state_dict())
    assert all(slot.name == name for name, slot in slots.items())


def test_the_whole_partition() -> None:
    slots = partition(build())
    layers = {
        f"experts.layers.{layer}.{kind}_{component}": Slot(
            f"experts.layers.{layer}.{kind}_{component}", part, None, layer
        )
        for layer in (0, 1)
        for kind in ("weight", "bias")
        for component, part in (
            ("global", Part.EXPERT_GLOBAL),
            ("task", Part.EXPERT_TASK),
            ("scenario", Part.EXPERT_SCENARIO),
        )
    }
    towers = {
        f"towers.of_task.{task}.{position}.{kind}": Slot(
            f"towers.of_task.{task}.{position}.{kind}", Part.TOWER, task, layer
        )
        for task in ("ctr", "norm")
        for layer, position in enumerate((0, 4, 8))
        for kind in ("weight", "bias")
    }
    gates = {
        f"gates.of_task.{task}.weight": Slot(f"gates.of_task.{task}.weight", Part.GATE, task)
        for task in ("ctr", "norm")
    }
    owners: dict[str, tuple[Part, str | None]] = {
        f"experts.norms.{index}": (Part.NORMALIZATION, None) for index in (0, 1)
    }
    owners |= {
        f"towers.of_task.{task}.{position}": (Part.TOWER_NORMALIZATION, task)
        for task in ("ctr", "norm")
        for position in (1, 5)
    }
    tensors = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    norms = {f"{owner}.{own}": Slot(f"{owner}.{own}", *where) for owner, where in owners.items() for own in tensors}
    tables = {
        "federated_embeddings.weight": Slot("federated_embeddings.weight", Part.FEDERATED_EMBEDDING),
        "local_embeddings.weight": Slot("local_embeddings.weight", Part.LOCAL_EMBEDDING),
    }
    assert slots == layers | towers | gates | norms | tables


def test_without_a_template_an_expert_is_scenario_specific() -> None:
    parts = {slot.part for name, slot in partition(build("none")).items() if name.startswith("experts.layers")}
    assert parts == {Part.EXPERT_SCENARIO}


def test_a_normalization_of_another_kind_is_found_by_its_type() -> None:
    model = build()
    tower = model.towers.of_task["ctr"]
    assert isinstance(tower, nn.Sequential)
    tower[1] = nn.SyncBatchNorm(5)
    slots = partition(model)
    assert slots["towers.of_task.ctr.1.running_mean"].part is Part.TOWER_NORMALIZATION


def foreign_parameter(model: MMoE) -> None:
    model.experts.layers[0].register_parameter("extra", nn.Parameter(torch.zeros(1)))


def foreign_buffer(model: MMoE) -> None:
    model.experts.register_buffer("extra", torch.zeros(1))


def foreign_module(model: MMoE) -> None:
    model.add_module("extra", nn.Linear(2, 2))


def foreign_normalization(model: MMoE) -> None:
    tower = model.towers.of_task["ctr"]
    assert isinstance(tower, nn.Sequential)
    tower.add_module("extra", nn.LayerNorm(1))


def foreign_in_an_expert(model: MMoE) -> None:
    model.experts.layers[0].add_module("extra", nn.Linear(2, 2))


@pytest.mark.parametrize(
    "change", [foreign_parameter, foreign_buffer, foreign_module, foreign_normalization, foreign_in_an_expert]
)
def test_what_nobody_declared_is_refused(change: object) -> None:
    model = build()
    assert callable(change)
    change(model)
    with pytest.raises(TypeError, match=r"no part is declared for the tensors \['.*extra"):
        partition(model)
