"""Which parameter or buffer of a model belongs to which part of the method.

A part is found by the type of the module that owns the tensor, never by a piece of its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings
from pfmsmtrec_flwr.model.gates import Gates
from pfmsmtrec_flwr.model.mmoe import MMoE
from pfmsmtrec_flwr.model.template import TemplateLinear
from pfmsmtrec_flwr.model.towers import Towers


class Part(StrEnum):
    """Parts of a scenario's model."""

    LOCAL_EMBEDDING = "local embedding"
    FEDERATED_EMBEDDING = "federated embedding"
    EXPERT_GLOBAL = "expert, global shared"
    EXPERT_TASK = "expert, task-specific"
    EXPERT_SCENARIO = "expert, scenario-specific"
    GATE = "gate"
    TOWER = "tower"
    NORMALIZATION = "normalization"


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of a model.

    Attributes
    ----------
    name
        Its name in the model's state.
    part
        Where it belongs.
    task
        The task that a gate or a tower serves, else None.
    layer
        Position within its expert or tower, counted from 0 in the order of computation.
    """

    name: str
    part: Part
    task: str | None = None
    layer: int = 0


_COMPONENT = {
    "weight_global": Part.EXPERT_GLOBAL,
    "bias_global": Part.EXPERT_GLOBAL,
    "weight_task": Part.EXPERT_TASK,
    "bias_task": Part.EXPERT_TASK,
    "weight_scenario": Part.EXPERT_SCENARIO,
    "bias_scenario": Part.EXPERT_SCENARIO,
}


def partition(model: MMoE) -> dict[str, Slot]:
    """Return the slot of every parameter and persistent buffer of the model, by name, in the state's order.

    Raises
    ------
    TypeError
        A tensor's owner is of a type that no part is declared for.
    """
    slots = {slot.name: slot for slot in _slots(model)}
    missing = model.state_dict().keys() - slots.keys()
    if missing:
        raise TypeError(f"no part is declared for the tensors {sorted(missing)}")
    return {name: slots[name] for name in model.state_dict()}


def _slots(model: MMoE) -> Iterator[Slot]:
    for name, tensor_owner in model.named_modules():
        if isinstance(tensor_owner, _BatchNorm):
            yield from (Slot(f"{name}.{own}", Part.NORMALIZATION) for own in _own(tensor_owner))
        elif isinstance(tensor_owner, FieldEmbeddings):
            part = Part.FEDERATED_EMBEDDING if tensor_owner.federated else Part.LOCAL_EMBEDDING
            yield from (Slot(f"{name}.{own}", part) for own in _own(tensor_owner))
        elif isinstance(tensor_owner, Gates):
            yield from _task_slots(name, tensor_owner.of_task, Part.GATE)
        elif isinstance(tensor_owner, Towers):
            yield from _task_slots(name, tensor_owner.of_task, Part.TOWER)
    for index, layer in enumerate(model.experts.layers):
        if isinstance(layer, TemplateLinear):
            for own in _own(layer).keys() & _COMPONENT.keys():
                yield Slot(f"experts.layers.{index}.{own}", _COMPONENT[own], layer=index)


def _task_slots(name: str, of_task: nn.ModuleDict, part: Part) -> Iterator[Slot]:
    for task, module in of_task.items():
        linear = ((path, inner) for path, inner in module.named_modules() if isinstance(inner, nn.Linear))
        for layer, (path, inner) in enumerate(linear):
            prefix = ".".join(filter(None, (name, "of_task", task, path)))
            yield from (Slot(f"{prefix}.{own}", part, task, layer) for own in _own(inner))


def _own(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers that the module itself holds."""
    return {
        name: tensor for name, tensor in module.state_dict().items() if "." not in name and isinstance(tensor, Tensor)
    }
