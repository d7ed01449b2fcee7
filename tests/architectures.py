"""Small specifications, settings and rows: what the tests of the models' architectures share."""

from __future__ import annotations

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, build_model

TASKS = ("click", "like", "share")
FIELDS = (FieldSpec("user", 7, False), FieldSpec("item", 5, True), FieldSpec("hour", 4, True))
POOLED = ("star", "pepnet", "m3oe")
"""Architectures for rows of several scenarios."""
SCENARIOS = 3
DIM = 3


def make_spec(tasks: int = 2, scenarios: int = 0, fields: tuple[FieldSpec, ...] = FIELDS) -> ModelSpec:
    """Three fields, two numeric columns, and the scenario's field where there are scenarios."""
    own = (FieldSpec("scenario", scenarios + 1, False),) if scenarios else ()
    return ModelSpec((*fields, *own), 2, TASKS[:tasks], scenarios)


def make_settings(architecture: str, **changes: object) -> ModelSettings:
    fixed = {"embedding_dim": DIM, "experts": 5, "expert_layers": (6, 4), "tower_layers": (5,), "dropout": 0.0}
    return ModelSettings.model_validate({**fixed, "architecture": architecture, **changes})


def make_model(architecture: str, tasks: int = 2, **changes: object) -> ScenarioModel:
    """Build a model, of rows of several scenarios where the architecture is for them."""
    spec = make_spec(tasks, SCENARIOS if architecture in POOLED else 0)
    return build_model(spec, make_settings(architecture, **changes), seed=0)


def make_rows(spec: ModelSpec, count: int = 12, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Draw categorical and numeric input; the scenarios' numbers, where there are some, go around: 1, 2, 3, 1, ..."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, field.rows, (count,), generator=generator) for field in spec.fields]
    if spec.scenarios:
        columns[-1] = torch.arange(count) % spec.scenarios + 1
    return torch.stack(columns, dim=1).int(), torch.randn(count, spec.numeric, generator=generator)


def scatter_parameters(model: ScenarioModel, seed: int = 5) -> ScenarioModel:
    """Move every parameter away from where it starts, so that nothing is equal or zero by its start alone."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model
