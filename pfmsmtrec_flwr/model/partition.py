"""The partition of a model's parameters and buffers into parts.

The part of a tensor follows from the type of the module that owns it, never from a piece of its name. The model of
another package declares the parts of its own kinds of modules.

Examples
--------
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model, partition
>>> spec = ModelSpec((FieldSpec("item", rows=7, federated=True),), numeric=1, tasks=("ctr",))
>>> slots = partition(build_model(spec, ModelSettings(), seed=0))
>>> slots["federated_embeddings.weight"].part.value
'federated embedding'
>>> slot = slots["experts.layers.1.weight"]
>>> slot.part.value, slot.layer
('expert', 1)
>>> slots["gates.of_task.ctr.weight"].task
'ctr'
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pfmsmtrec_flwr.model.aitm import TransferTowers
from pfmsmtrec_flwr.model.base import ScenarioModel
from pfmsmtrec_flwr.model.by_task import ModulesByTask
from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings
from pfmsmtrec_flwr.model.experts import Experts
from pfmsmtrec_flwr.model.gates import Gates, GateUnit, SharedGate
from pfmsmtrec_flwr.model.m3oe import DomainRepresentation, ExpertBalance
from pfmsmtrec_flwr.model.parts import Part, Slot
from pfmsmtrec_flwr.model.star import AuxiliaryNetwork, PartitionedNorm, StarLayers, StarLinear, StarTowers
from pfmsmtrec_flwr.model.template import TemplateLinear
from pfmsmtrec_flwr.model.towers import OutputLayer, Towers

_COMPONENT = {
    "weight": Part.EXPERT,
    "bias": Part.EXPERT,
    "weight_task": Part.EXPERT_TASK,
    "bias_task": Part.EXPERT_TASK,
}


def partition(model: ScenarioModel) -> dict[str, Slot]:
    """Return the slot of every parameter and persistent buffer of the model, by name, in the order of its state.

    Raises
    ------
    TypeError
        A tensor is owned by a module of a type that has no part.
    """
    slots = {slot.name: slot for slot in _slots(model)}
    missing = model.state_dict().keys() - slots.keys()
    if missing:
        raise TypeError(f"no part is declared for the tensors {sorted(missing)}")
    return {name: slots[name] for name in model.state_dict()}


def _slots(model: ScenarioModel) -> Iterator[Slot]:
    for name, part in model.own_parts().items():
        yield from _declared_slots(name, model.get_submodule(name), part)
    depth = 0  # number of expert layers so far; those of a later level continue the count
    for name, owner in model.named_modules():
        if isinstance(owner, _BatchNorm | PartitionedNorm):
            yield from _normalization_slots(name, owner, Part.NORMALIZATION)
        elif isinstance(owner, FieldEmbeddings):
            part = Part.FEDERATED_EMBEDDING if owner.federated else Part.LOCAL_EMBEDDING
            yield from (Slot(f"{name}.{own}", part) for own in _own(owner))
        elif isinstance(owner, Experts):
            yield from _expert_slots(name, owner, depth)
            depth += len(owner.layers)
        elif isinstance(owner, StarLayers):
            yield from _star_slots(name, owner)
        elif isinstance(owner, DomainRepresentation):
            yield from _network_slots(name, owner, Part.EXPERT)
    for name, owner in model.named_modules():  # last: the layers and normalization of a tower belong to it
        if isinstance(owner, Gates):
            yield from _task_slots(f"{name}.of_task", owner.of_task, Part.GATE)
        elif isinstance(owner, SharedGate | GateUnit):
            yield from _network_slots(name, owner, Part.GATE)
        elif isinstance(owner, ExpertBalance):
            yield from (Slot(f"{name}.{own}", Part.GATE) for own in _own(owner))
        elif isinstance(owner, Towers | TransferTowers | StarTowers):
            yield from _task_slots(f"{name}.of_task", owner.of_task, Part.TOWER)
        elif isinstance(owner, AuxiliaryNetwork):
            yield from _network_slots(name, owner, Part.TOWER)


def _expert_slots(name: str, experts: Experts, depth: int) -> Iterator[Slot]:
    for index, layer in enumerate(experts.layers):
        if isinstance(layer, TemplateLinear):
            for own in _own(layer).keys() & _COMPONENT.keys():
                yield Slot(f"{name}.layers.{index}.{own}", _COMPONENT[own], layer=depth + index)


def _star_slots(name: str, bottom: StarLayers) -> Iterator[Slot]:
    for index, layer in enumerate(bottom.layers):
        if isinstance(layer, StarLinear):
            for own in _own(layer):
                yield Slot(f"{name}.layers.{index}.{own}", Part.EXPERT, layer=index)


def _task_slots(name: str, of_task: ModulesByTask, part: Part) -> Iterator[Slot]:
    for key, (task, module) in zip(of_task, of_task.of_tasks(), strict=True):
        yield from _network_slots(f"{name}.{key}", module, part, task)


def _network_slots(name: str, network: nn.Module, part: Part, task: str | None = None) -> Iterator[Slot]:
    layer = 0
    normalization = Part.TOWER_NORMALIZATION if part is Part.TOWER else Part.NORMALIZATION
    for path, inner in network.named_modules(prefix=name):
        if isinstance(inner, nn.Linear | StarLinear):
            yield from (Slot(f"{path}.{own}", _layer_part(inner, own, part), task, layer) for own in _own(inner))
            layer += 1
        elif isinstance(inner, _BatchNorm | PartitionedNorm):
            yield from _normalization_slots(path, inner, normalization, task)


def _declared_slots(name: str, network: nn.Module, part: Part) -> Iterator[Slot]:
    for path, inner in network.named_modules(prefix=name):
        if not isinstance(inner, _BatchNorm | PartitionedNorm):
            yield from (Slot(f"{path}.{own}", part) for own in _own(inner))


def _normalization_slots(name: str, owner: nn.Module, part: Part, task: str | None = None) -> Iterator[Slot]:
    statistics = dict(owner.named_buffers(recurse=False))
    yield from (Slot(f"{name}.{own}", part, task, statistic=own in statistics) for own in _own(owner))


def _layer_part(layer: nn.Module, own: str, part: Part) -> Part:
    return Part.OUTPUT_BIAS if isinstance(layer, OutputLayer) and own == "bias" else part


def _own(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and persistent buffers that the module itself holds, by name."""
    return {
        name: tensor for name, tensor in module.state_dict().items() if "." not in name and isinstance(tensor, Tensor)
    }
