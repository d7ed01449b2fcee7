"""The Multi-gate Mixture-of-Experts of one scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.dropout import dropout
from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings, FieldSpec
from pfmsmtrec_flwr.model.experts import Experts
from pfmsmtrec_flwr.model.gates import Gates
from pfmsmtrec_flwr.model.template import TemplateLinear
from pfmsmtrec_flwr.model.towers import Towers
from pfmsmtrec_flwr.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What the data say about a model: its inputs and its tasks.

    Attributes
    ----------
    fields
        Categorical fields, in the order of the input's columns.
    numeric
        Number of numeric columns.
    tasks
        Names of the tasks, in the order of the logits.
    """

    fields: tuple[FieldSpec, ...]
    numeric: int
    tasks: tuple[str, ...]


class MMoE(nn.Module):
    """Embeddings, experts, one gate and one tower per task (Ma et al., KDD 2018).

    Parameters
    ----------
    spec
        Inputs and tasks.
    settings
        Sizes, dropout and template.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__()
        self.spec = spec
        self.embedding_dropout = settings.embedding_dropout
        self.federated_embeddings = _embeddings(spec.fields, settings.embedding_dim, federated=True)
        self.local_embeddings = _embeddings(spec.fields, settings.embedding_dim, federated=False)
        inputs = len(spec.fields) * settings.embedding_dim + spec.numeric
        self.experts = Experts(
            len(spec.tasks),
            settings.experts,
            inputs,
            settings.expert_layers,
            settings.dropout,
            settings.template,
        )
        self.gates = Gates(spec.tasks, settings.experts, inputs)
        self.towers = Towers(spec.tasks, settings.expert_layers[-1], settings.tower_layers, settings.dropout)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return one logit per task.

        Parameters
        ----------
        categorical
            (B, F) int32, each value below its field's rows.
        numeric
            (B, N) float32, standardised.

        Returns
        -------
        Tensor
            (B, T)
        """
        tables = [table for table in (self.federated_embeddings, self.local_embeddings) if table is not None]
        embedded = [table(categorical) for table in tables]
        if embedded and self.embedding_dropout:
            embedded = [dropout(torch.cat(embedded, 1), self.embedding_dropout, self.training)]
        x = torch.cat([*embedded, numeric], dim=1)  # (B, D)
        outputs = self.experts(x)  # (B, T or 1, E, H)
        shares = self.gates(x).unsqueeze(3)  # (B, T, E, 1)
        logits: Tensor = self.towers((shares * outputs).sum(dim=2))
        return logits


def build_model(spec: ModelSpec, settings: ModelSettings, seed: int) -> MMoE:
    """Build a model whose every parameter is drawn from the seed and its own name.

    So two scenarios with the same seed start alike in all that they share, whatever the sizes of their local tables
    and whichever tasks they have.
    """
    model = MMoE(spec, settings)
    draw_parameters(model, seed)
    return model


def draw_parameters(model: MMoE, seed: int) -> None:
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


def _embeddings(fields: Sequence[FieldSpec], dim: int, *, federated: bool) -> FieldEmbeddings | None:
    columns = [column for column, field in enumerate(fields) if field.federated == federated]
    if not columns:
        return None
    return FieldEmbeddings([fields[column].rows for column in columns], columns, dim, federated=federated)
