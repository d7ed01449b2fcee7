"""Tasks of any name: those of PyTorch's own methods and attributes, and ours."""

from __future__ import annotations

import copy

import pytest
import torch
from architectures import FIELDS, POOLED, SCENARIOS, make_rows, make_settings
from torch import nn

from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model, output_biases, partition
from pfmsmtrec_flwr.model.build import ARCHITECTURES
from pfmsmtrec_flwr.model.by_task import ModulesByTask
from pfmsmtrec_flwr.model.parts import Part

NAMES = ("apply", "type", "train", "training", "items", "of_tasks", "_modules", "T_destination", "call_super_init")


def spec_of(architecture: str, tasks: tuple[str, ...]) -> ModelSpec:
    if architecture not in POOLED:
        return ModelSpec(FIELDS, 2, tasks)
    return ModelSpec((*FIELDS, FieldSpec("scenario", SCENARIOS + 1, False)), 2, tasks, SCENARIOS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_takes_tasks_of_any_name(architecture: str) -> None:
    tasks = NAMES[:2] if architecture in {"esmm", "aitm"} else NAMES
    spec = spec_of(architecture, tasks)
    model = build_model(spec, make_settings(architecture), seed=0).eval()
    slots = partition(model)
    assert list(slots) == list(model.state_dict())
    assert {slot.task for slot in slots.values()} - {None} <= set(tasks)
    rows = make_rows(spec)
    logits = model(*rows)
    assert logits.shape == (12, len(tasks))
    assert torch.equal(copy.deepcopy(model)(*rows), logits)
    again = torch.func.functional_call(model, dict(model.named_parameters()), rows)
    assert torch.equal(again, logits)
    biases = output_biases(architecture, slots.values(), tasks, [3] * len(tasks), [12] * len(tasks))
    assert biases.keys() == {slot.name for slot in slots.values() if slot.part is Part.OUTPUT_BIAS}


def test_other_names_are_the_keys_themselves() -> None:
    modules = ModulesByTask({task: nn.Linear(1, 1) for task in ("ctr", "apply")})
    assert list(modules.state_dict()) == ["ctr.weight", "ctr.bias", "task:apply.weight", "task:apply.bias"]
    assert [task for task, _ in modules.of_tasks()] == ["ctr", "apply"]
