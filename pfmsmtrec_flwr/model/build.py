"""Build a model by the name of its architecture, every parameter drawn from the seed and its own name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings
from pfmsmtrec_flwr.model.mmoe import MMoE
from pfmsmtrec_flwr.model.template import TemplateLinear
from pfmsmtrec_flwr.seeds import derive_seed

ARCHITECTURES: Mapping[str, type[ScenarioModel]] = {"mmoe": MMoE}


def make_model(spec: ModelSpec, settings: ModelSettings) -> ScenarioModel:
    """Return a model of the settings' architecture, its parameters not drawn yet."""
    return ARCHITECTURES[settings.architecture](spec, settings)


def build_model(spec: ModelSpec, settings: ModelSettings, seed: int) -> ScenarioModel:
    """Build a model whose every parameter is drawn from the seed and its own name.

    So two scenarios with the same seed start alike in all that they share, whatever the sizes of their local tables
    and whichever tasks they have.
    """
    model = make_model(spec, settings)
    draw_parameters(model, seed)
    return model


def draw_parameters(model: ScenarioModel, seed: int) -> None:
    """Draw a model's initial parameters, each from the seed and its own name."""
    for name, module in model.named_modules():
        _initialise(module, name, seed)


def _initialise(module: nn.Module, name: str, seed: int) -> None:
    def generator(parameter: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(seed, "initialise", f"{name}.{parameter}"))

    if isinstance(module, TemplateLinear):
        module.initialise(generator)
    elif isinstance(module, FieldEmbeddings):
        module.initialise(generator("weight"))
    elif isinstance(module, nn.Linear):
        bound = module.in_features**-0.5
        for parameter_name, parameter in module.named_parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator(parameter_name))
