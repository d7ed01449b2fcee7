"""Embeddings of the categorical fields: one stacked table for the local fields, one for the federated ones.

Examples
--------
The second field's rows follow the three rows of the first.

>>> import torch
>>> from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings
>>> table = FieldEmbeddings(rows=[3, 5], columns=[0, 1], dim=2, federated=True)
>>> categorical = torch.tensor([[1, 1], [2, 4]], dtype=torch.int32)  # (B, F)
>>> table.rows_of(categorical).tolist()
[[1, 4], [2, 7]]
>>> table(categorical).shape  # (B, F * dim)
torch.Size([2, 4])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_SCALE = 0.05
"""Standard deviation of the initial embeddings."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One categorical field.

    Attributes
    ----------
    name
        Name of the field.
    rows
        Number of rows of its table; row 0 stands for unseen and missing values.
    federated
        Whether its table is shared between scenarios.
    """

    name: str
    rows: int
    federated: bool


class FieldEmbeddings(nn.Module):
    """Tables of several fields, stacked into one so that a batch needs one gather.

    Parameters
    ----------
    rows
        Number of rows of each field's table.
    columns
        Column of each field in the categorical input.
    dim
        Width of an embedding.
    federated
        Whether these tables are shared between scenarios.
    """

    offsets: Tensor
    columns: Tensor

    def __init__(self, rows: Sequence[int], columns: Sequence[int], dim: int, *, federated: bool) -> None:
        super().__init__()
        self.federated = federated
        self.weight = nn.Parameter(torch.zeros(sum(rows), dim))
        starts = [0, *accumulate(rows)][: len(rows)]
        # Not persistent: they follow from the specification, so they need not be saved or sent.
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int32), persistent=False)
        self.register_buffer("columns", torch.tensor(list(columns), dtype=torch.int64), persistent=False)

    def rows_of(self, categorical: Tensor) -> Tensor:
        """Return the row of each value in the stacked table, (B, F) int32."""
        return categorical.index_select(1, self.columns) + self.offsets

    def forward(self, categorical: Tensor) -> Tensor:
        """Embed ``categorical`` (B, all fields) int32 as (B, F * dim)."""
        return functional.embedding(self.rows_of(categorical), self.weight).flatten(1)

    def initialise(self, generator: Callable[[str], torch.Generator]) -> None:
        """Draw the tables; row 0 of every field starts at zero, so that an unseen value contributes nothing.

        Parameters
        ----------
        generator
            Function that returns the random generator of a parameter by its name in this module.
        """
        with torch.no_grad():
            self.weight.normal_(0.0, INITIAL_SCALE, generator=generator("weight"))
            self.weight[self.offsets.long()] = 0.0
