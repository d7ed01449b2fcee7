"""The base class of all models of a scenario: embedded input, and one logit per task.

Examples
--------
A subclass defines what follows the embedded input.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
>>> from pfmsmtrec_flwr.model.embeddings import FieldSpec
>>> class Linear(ScenarioModel):
...     def __init__(self, spec, settings):
...         super().__init__(spec, settings)
...         self.output = torch.nn.Linear(self.inputs, len(spec.tasks))
...
...     def forward(self, categorical, numeric):
...         return self.output(self.embed(categorical, numeric))
>>> spec = ModelSpec(fields=(FieldSpec("item", rows=7, federated=True),), numeric=2, tasks=("ctr", "ctcvr"))
>>> model = Linear(spec, ModelSettings(embedding_dim=4))
>>> model.inputs  # D
6
>>> model(torch.tensor([[1], [6], [0]], dtype=torch.int32), torch.zeros(3, 2)).shape  # (B, T)
torch.Size([3, 2])
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.dropout import dropout
from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings, FieldSpec
from pfmsmtrec_flwr.model.parts import Part


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Inputs and tasks of a model, which follow from the data.

    Attributes
    ----------
    fields
        Categorical fields, in the order of the input's columns. A field of several values has several columns.
    numeric
        Number of numeric columns.
    tasks
        Names of the tasks, in the order of the logits.
    scenarios
        Number of scenarios if the rows come from several, else 0. The last field, and the last categorical column, is
        then the number of the row's scenario, counted from 1.
    """

    fields: tuple[FieldSpec, ...]
    numeric: int
    tasks: tuple[str, ...]
    scenarios: int = 0


class ScenarioModel(nn.Module):
    """Embedding tables of a scenario's model; a subclass defines what follows them.

    Parameters
    ----------
    spec
        Inputs and tasks.
    settings
        Sizes and dropout.

    Attributes
    ----------
    inputs
        Width D of the embedded input.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__()
        self.spec = spec
        self.settings = settings
        width = self.table_width(spec, settings)
        self.federated_embeddings = _embeddings(spec.fields, width, federated=True)
        self.local_embeddings = _embeddings(spec.fields, width, federated=False)
        self.inputs = len(spec.fields) * width + spec.numeric

    @property
    def tables(self) -> tuple[FieldEmbeddings, ...]:
        """Embedding tables, the federated one before the local one."""
        return tuple(table for table in (self.federated_embeddings, self.local_embeddings) if table is not None)

    @classmethod
    def table_width(cls, spec: ModelSpec, settings: ModelSettings) -> int:  # noqa: ARG003
        """Return the width of a row of the embedding tables: that of one vector, unless a value has several."""
        return settings.embedding_dim

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:  # noqa: ARG003
        """Return the parts with an axis of tasks, whose layout depends on the tasks and their order.

        Parameters
        ----------
        settings
            Settings of the model.
        """
        return frozenset()

    def own_parts(self) -> Mapping[str, Part]:
        """Return the part of each submodule of a kind that this project does not know, by the submodule's path.

        Normalization within such a submodule is a part of its own in any case.
        """
        return {}

    @classmethod
    def rows_of_towers(cls, positives: Sequence[int], rows: Sequence[int]) -> list[int]:  # noqa: ARG003
        """Return the number of rows that decide each tower's outcome: all, unless the tasks are steps of a path.

        Parameters
        ----------
        positives, rows
            Number of positive rows and of all rows of each task.
        """
        return list(rows)

    @abstractmethod
    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return one logit per task.

        Parameters
        ----------
        categorical
            Values of the fields (B, C) int32, each below the number of rows of its field.
        numeric
            Standardised numeric columns (B, N) float32.

        Returns
        -------
        Tensor
            Logits (B, T).
        """

    def embed(self, categorical: Tensor, numeric: Tensor, *, kept: slice | None = None) -> Tensor:
        """Return the embedded input x (B, D): the embeddings, with dropout in training, then the numeric columns.

        Parameters
        ----------
        categorical, numeric
            Input, as of `forward`.
        kept
            Columns of the embeddings that dropout leaves as they are, such as those of the scenario.
        """
        embedded = [table(categorical) for table in self.tables]
        if embedded and self.settings.embedding_dropout:
            whole = torch.cat(embedded, 1)
            embedded = [dropout(whole, self.settings.embedding_dropout, self.training)]
            if kept is not None:
                (dropped,) = embedded
                embedded = [dropped[:, : kept.start], whole[:, kept], dropped[:, kept.stop :]]
        return torch.cat([*embedded, numeric], dim=1)

    def fixed_columns(self, numeric: Tensor) -> int:
        """Return the number of the last columns of the embedded input that need no gradient: the numeric ones."""
        return 0 if numeric.requires_grad else self.spec.numeric

    def auxiliary_loss(self, logits: Tensor, labelled: Tensor | None = None) -> Tensor | None:  # noqa: ARG002
        """Return the scalar that the objective adds to the cross-entropies, or None.

        Parameters
        ----------
        logits
            Outputs of the model (B, T).
        labelled
            Whether a row has a label of a task (B, T), as a row without one does not count for it; None: all have.
        """
        return None

    def expert_shares(self, categorical: Tensor, numeric: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return each task's shares of the experts (B, T, E), which sum to one over E; None without gates."""
        return None


def _embeddings(fields: Sequence[FieldSpec], dim: int, *, federated: bool) -> FieldEmbeddings | None:
    starts = accumulate((field.most for field in fields), initial=0)
    own = [(field, start) for field, start in zip(fields, starts, strict=False) if field.federated == federated]
    if not own:
        return None
    rows, columns, most = zip(*((field.rows, start, field.most) for field, start in own), strict=True)
    return FieldEmbeddings(rows, columns, dim, federated=federated, most=most)
