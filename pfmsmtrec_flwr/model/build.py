"""Building a model by the name of its architecture, with every parameter drawn from the seed and its own name.

Examples
--------
Two scenarios with different users start with the same table of items.

>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> item = FieldSpec("item", rows=7, federated=True)
>>> small = ModelSpec((FieldSpec("user", rows=5, federated=False), item), numeric=1, tasks=("ctr",))
>>> large = ModelSpec((FieldSpec("user", rows=50, federated=False), item), numeric=1, tasks=("ctr",))
>>> tables = [build_model(spec, ModelSettings(), seed=0).federated_embeddings.weight for spec in (small, large)]
>>> bool((tables[0] == tables[1]).all())
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model.aitm import AITM
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.esmm import ESMM
from pfmsmtrec_flwr.model.m3oe import M3oE
from pfmsmtrec_flwr.model.mmoe import MMoE
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.pepnet import PEPNet
from pfmsmtrec_flwr.model.ple import PLE
from pfmsmtrec_flwr.model.shared_bottom import SharedBottom
from pfmsmtrec_flwr.model.single_task import SingleTask
from pfmsmtrec_flwr.model.star import STAR
from pfmsmtrec_flwr.model.stem import STEM
from pfmsmtrec_flwr.plugins import MODELS_GROUP, Catalog
from pfmsmtrec_flwr.seeds import derive_seed

ARCHITECTURES: Mapping[str, type[ScenarioModel]] = {
    "mmoe": MMoE,
    "single-task": SingleTask,
    "shared-bottom": SharedBottom,
    "ple": PLE,
    "aitm": AITM,
    "esmm": ESMM,
    "star": STAR,
    "pepnet": PEPNet,
    "stem": STEM,
    "m3oe": M3oE,
}
"""Architectures of this package."""


def _announced_model(_name: str, source: str, found: object) -> type[ScenarioModel]:
    if not isinstance(found, type) or not issubclass(found, ScenarioModel):
        raise UserError(f"{source}: got {found!r}, expected a subclass of ScenarioModel")
    return found


KNOWN_ARCHITECTURES = Catalog("architecture", MODELS_GROUP, ARCHITECTURES, _announced_model)
"""Architectures of this package and of other installed ones."""


@runtime_checkable
class SelfInitialised(Protocol):
    """A module that draws its own parameters."""

    def initialise(self, generator: Callable[[str], torch.Generator]) -> None:
        """Draw each parameter with the generator of its name in the module."""


def parts_by_task(settings: ModelSettings) -> frozenset[Part]:
    """Return the parts that have an axis of tasks in the settings' architecture; see `ScenarioModel.by_task`."""
    return KNOWN_ARCHITECTURES[settings.architecture].by_task(settings)


def make_model(spec: ModelSpec, settings: ModelSettings) -> ScenarioModel:
    """Return a model of the settings' architecture, whose parameters are not drawn yet.

    Raises
    ------
    UserError
        The architecture cannot be built for these tasks or scenarios, or the package that it comes from cannot be
        imported.
    """
    return KNOWN_ARCHITECTURES[settings.architecture](spec, settings)


def build_model(spec: ModelSpec, settings: ModelSettings, seed: int) -> ScenarioModel:
    """Build a model whose every parameter is drawn from the seed and its own name.

    Two scenarios with the same seed therefore start alike in all that they share, whatever their tasks and the sizes
    of their local tables.
    """
    model = make_model(spec, settings)
    draw_parameters(model, seed)
    return model


def draw_parameters(model: ScenarioModel, seed: int) -> None:
    """Draw a model's initial parameters, each from the seed and its own name: on the CPU, so alike on every device."""
    device = next(model.parameters()).device
    model.cpu()
    for name, module in model.named_modules():
        _initialise(module, name, seed)
    model.to(device)


def _initialise(module: nn.Module, name: str, seed: int) -> None:
    def generator(parameter: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(seed, "initialise", f"{name}.{parameter}"))

    if isinstance(module, SelfInitialised):
        module.initialise(generator)
    elif isinstance(module, nn.Linear):
        bound = module.in_features**-0.5
        for parameter_name, parameter in module.named_parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator(parameter_name))
