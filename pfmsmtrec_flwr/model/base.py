"""What every model of a scenario is: embeddings of the input, and one logit per task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.dropout import dropout
from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings, FieldSpec
from pfmsmtrec_flwr.model.parts import Part


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
    scenarios
        Number of scenarios in the rows, if they are of several: their number, from 1 on, is the last categorical
        column then, and the last field.
    """

    fields: tuple[FieldSpec, ...]
    numeric: int
    tasks: tuple[str, ...]
    scenarios: int = 0


class ScenarioModel(nn.Module):
    """Embeddings; what follows them is the subclass's.

    Parameters
    ----------
    spec
        Inputs and tasks.
    settings
        Sizes and dropout.

    Attributes
    ----------
    inputs
        D, the width of the embedded input.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__()
        self.spec = spec
        self.settings = settings
        self.federated_embeddings = _embeddings(spec.fields, settings.embedding_dim, federated=True)
        self.local_embeddings = _embeddings(spec.fields, settings.embedding_dim, federated=False)
        self.inputs = len(spec.fields) * settings.embedding_dim + spec.numeric

    @property
    def tables(self) -> tuple[FieldEmbeddings, ...]:
        """The embedding tables, federated before local."""
        return tuple(table for table in (self.federated_embeddings, self.local_embeddings) if table is not None)

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:  # noqa: ARG003
        """Return the parts with an axis of tasks: what lies where depends on the tasks and their order.

        Parameters
        ----------
        settings
            Of the model.
        """
        return frozenset()

    @classmethod
    def rows_of_towers(cls, positives: Sequence[int], rows: Sequence[int]) -> list[int]:  # noqa: ARG003
        """Return the rows in which each tower's outcome is decided: all of them, unless the tasks are steps of a path.

        Parameters
        ----------
        positives, rows
            Of each task.
        """
        return list(rows)

    @abstractmethod
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

    def embed(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the embedded input x (B, D), embeddings first, dropped out in training."""
        embedded = [table(categorical) for table in self.tables]
        if embedded and self.settings.embedding_dropout:
            embedded = [dropout(torch.cat(embedded, 1), self.settings.embedding_dropout, self.training)]
        return torch.cat([*embedded, numeric], dim=1)

    def auxiliary_loss(self, logits: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return what the objective adds to the tasks' cross-entropies for ``logits`` (B, T), a scalar; or None."""
        return None

    def expert_shares(self, categorical: Tensor, numeric: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return how much each task takes of each expert (B, T, E), each row summing to one; None without gates."""
        return None


def _embeddings(fields: Sequence[FieldSpec], dim: int, *, federated: bool) -> FieldEmbeddings | None:
    columns = [column for column, field in enumerate(fields) if field.federated == federated]
    if not columns:
        return None
    return FieldEmbeddings([fields[column].rows for column in columns], columns, dim, federated=federated)
