"""Which tensor belongs to which part, by the type of its owner."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from architectures import POOLED, SCENARIOS, make_model, make_rows
from torch import nn

from pfmsmtrec_flwr.config import AnnouncedChoice, ModelSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.model import (
    FieldSpec,
    MMoE,
    ModelSpec,
    Part,
    ScenarioModel,
    Slot,
    build_model,
    partition,
    parts_by_task,
)
from pfmsmtrec_flwr.model.build import ARCHITECTURES
from pfmsmtrec_flwr.model.star import PartitionedNorm
from pfmsmtrec_flwr.model.template import Composition
from pfmsmtrec_flwr.training.local import backward


def build(template: Composition = "hadamard") -> MMoE:
    spec = ModelSpec((FieldSpec("user", 7, False), FieldSpec("item", 5, True)), 2, ("ctr", "norm"))
    settings = ModelSettings(embedding_dim=2, experts=2, expert_layers=(4, 3), tower_layers=(5, 2), template=template)
    model = build_model(spec, settings, seed=0)
    assert isinstance(model, MMoE)
    return model


@pytest.mark.parametrize("template", get_args(Composition))
def test_every_tensor_has_a_slot_in_the_states_order(template: Composition) -> None:
    model = build(template)
    slots = partition(model)
    assert list(slots) == list(model.state_dict())
    assert all(slot.name == name for name, slot in slots.items())


def test_the_whole_partition() -> None:
    slots = partition(build())
    layers = {
        name: Slot(name, part, None, layer)
        for layer, own, part in (
            (0, "", Part.EXPERT),
            (1, "", Part.EXPERT),
            (1, "_task", Part.EXPERT_TASK),
        )
        for name in (f"experts.layers.{layer}.weight{own}", f"experts.layers.{layer}.bias{own}")
    }
    towers = {
        f"towers.of_task.{task}.{position}.{kind}": Slot(
            f"towers.of_task.{task}.{position}.{kind}",
            Part.OUTPUT_BIAS if (position, kind) == (8, "bias") else Part.TOWER,
            task,
            layer,
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
    norms = {
        f"{owner}.{own}": Slot(f"{owner}.{own}", *where, statistic=own not in ("weight", "bias"))
        for owner, where in owners.items()
        for own in tensors
    }
    tables = {
        "federated_embeddings.weight": Slot("federated_embeddings.weight", Part.FEDERATED_EMBEDDING),
        "local_embeddings.weight": Slot("local_embeddings.weight", Part.LOCAL_EMBEDDING),
    }
    assert slots == layers | towers | gates | norms | tables


def test_without_a_template_tasks_have_no_part_of_an_expert() -> None:
    parts = {slot.part for name, slot in partition(build("none")).items() if name.startswith("experts.layers")}
    assert parts == {Part.EXPERT}


def test_a_normalization_of_another_kind_is_found_by_its_type() -> None:
    model = build()
    tower = model.towers.of_task["ctr"]
    assert isinstance(tower, nn.Sequential)
    tower[1] = nn.SyncBatchNorm(5)
    slots = partition(model)
    assert slots["towers.of_task.ctr.1.running_mean"].part is Part.TOWER_NORMALIZATION


GATED = {"mmoe", "ple", "pepnet", "stem", "m3oe"}
SPECIFIC = {"ple", "stem"}
"""Architectures with an expert of each task's own beside the five that tasks share."""
PARTS = {
    Part.LOCAL_EMBEDDING,
    Part.FEDERATED_EMBEDDING,
    Part.EXPERT,
    Part.TOWER,
    Part.OUTPUT_BIAS,
    Part.NORMALIZATION,
    Part.TOWER_NORMALIZATION,
}


HEADS = ("towers.", "auxiliary.")


def test_every_architecture_of_the_settings_can_be_built() -> None:
    (choice,) = (
        each for each in ModelSettings.model_fields["architecture"].metadata if isinstance(each, AnnouncedChoice)
    )
    assert ARCHITECTURES.keys() == set(choice.own)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_parts_of_an_architecture(architecture: str) -> None:
    model = make_model(architecture, template="none", extraction_levels=2)
    slots = partition(model)
    assert list(slots) == list(model.state_dict())
    expected = PARTS | ({Part.GATE} if architecture in GATED else set())
    if architecture == "pepnet":  # its towers are only the last layer
        expected -= {Part.TOWER_NORMALIZATION}
    assert {slot.part for slot in slots.values()} == expected
    normalizations = {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm1d)
        for own in module.state_dict()
    }
    found = {name for name, slot in slots.items() if slot.part in (Part.NORMALIZATION, Part.TOWER_NORMALIZATION)}
    assert found >= normalizations
    partitioned = {  # the shared and the scenarios' own scales of STAR
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, PartitionedNorm)
        for own in ("weight", "bias", "weight_scenario", "bias_scenario")
    }
    assert found - normalizations == partitioned
    assert all((slots[name].part is Part.TOWER_NORMALIZATION) == name.startswith(HEADS) for name in found)
    towers = {slot.task for name, slot in slots.items() if name.startswith("towers.")}
    assert towers == set(model.spec.tasks)


LAST = {
    "mmoe": "{task}.4.bias",
    "single-task": "{task}.4.bias",
    "shared-bottom": "{task}.4.bias",
    "ple": "{task}.4.bias",
    "aitm": "{task}.output.bias",
    "esmm": "{task}.4.bias",
    "pepnet": "{task}.0.bias",
    "stem": "{task}.4.bias",
}
"""Below ``towers.of_task``."""


@pytest.mark.parametrize("architecture", LAST)
def test_the_output_bias_is_that_of_each_towers_last_layer(architecture: str) -> None:
    found = {slot for slot in partition(make_model(architecture)).values() if slot.part is Part.OUTPUT_BIAS}
    named = {task: f"towers.of_task.{LAST[architecture].format(task=task)}" for task in ("click", "like")}
    layer = 0 if architecture == "pepnet" else 1
    assert found == {Slot(name, Part.OUTPUT_BIAS, task, layer) for task, name in named.items()}


def test_the_output_bias_of_star_is_that_of_its_auxiliary_network() -> None:
    found = [slot for slot in partition(make_model("star")).values() if slot.part is Part.OUTPUT_BIAS]
    assert found == [Slot("auxiliary.4.bias", Part.OUTPUT_BIAS, None, 1)]


def test_m3oe_has_an_output_bias_for_each_scenario_and_task() -> None:
    found = {slot for slot in partition(make_model("m3oe")).values() if slot.part is Part.OUTPUT_BIAS}
    assert found == {
        Slot(f"towers.{scenario}.of_task.{task}.4.bias", Part.OUTPUT_BIAS, task, 1)
        for scenario in range(SCENARIOS)
        for task in ("click", "like")
    }


@pytest.mark.parametrize("architecture", ["mmoe", "aitm"])
def test_a_hidden_layer_of_one_unit_is_no_output(architecture: str) -> None:
    slots = partition(make_model(architecture, expert_layers=(6, 1), tower_layers=(1,)))
    biases = [name for name, slot in slots.items() if slot.part is Part.OUTPUT_BIAS]
    assert biases == [f"towers.of_task.{LAST[architecture].format(task=task)}" for task in ("click", "like")]


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        *((architecture, {}) for architecture in ARCHITECTURES),
        ("mmoe", {"template": "none"}),
        ("mmoe", {"template": "additive"}),
        ("ple", {"extraction_levels": 2}),
        ("ple", {"extraction_levels": 2, "specific_experts": 0}),
        ("stem", {"specific_experts": 0}),
    ],
)
def test_the_parts_with_an_axis_of_tasks_are_those_whose_shape_depends_on_the_tasks(
    architecture: str, settings: dict[str, object]
) -> None:
    two, three = (make_model(architecture, tasks, **settings) for tasks in (2, 3))
    assert parts_by_task(two.settings) == differing_parts(two, three)


def differing_parts(model: ScenarioModel, wider: ScenarioModel) -> set[Part]:
    """Return the parts of tensors that both models have with different shapes."""
    slots, others = partition(model), wider.state_dict()
    return {slots[name].part for name, value in model.state_dict().items() if value.shape != others[name].shape}


@pytest.mark.parametrize("mixed_precision", [False, True])
@pytest.mark.parametrize("tasks", [1, 2, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_trains(architecture: str, tasks: int, mixed_precision: bool) -> None:
    model = make_model(architecture, tasks, dropout=0.1)
    categorical, numeric = make_rows(model.spec, 60)
    labels = (numeric[:, :1] + torch.arange(tasks) * 0.5 > 0).float()
    batch = Batch(categorical, numeric, labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    torch.manual_seed(0)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        losses.append(float(backward(model.train(), batch, mixed_precision=mixed_precision).sum()))
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())
    logits = model.eval()(categorical, numeric)
    assert logits.shape == (60, tasks)
    assert torch.isfinite(logits).all()
    shares = model.expert_shares(categorical, numeric)
    if shares is not None:
        assert shares.shape == (60, tasks, 5 + (tasks if architecture in SPECIFIC else 0))
        torch.testing.assert_close(shares.sum(dim=2), torch.ones(60, tasks))


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES.keys() - set(POOLED)))
def test_an_architecture_takes_any_kind_of_input(architecture: str) -> None:
    settings = make_model(architecture).settings
    for fields, numeric in (((), 2), ((FieldSpec("user", 7, False),), 0), ((FieldSpec("item", 5, True),), 0)):
        model = build_model(ModelSpec(fields, numeric, ("click", "like")), settings, seed=0)
        logits = model(torch.zeros(4, len(fields), dtype=torch.int32), torch.ones(4, numeric))
        assert logits.shape == (4, 2)


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
