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

A field of several values has a column for each of them. Its embedding is their mean, without the padding 0.

>>> genres = FieldEmbeddings(rows=[4], columns=[0], dim=1, federated=True, most=[3])
>>> _ = genres.load_state_dict({"weight": torch.tensor([[9.0], [1.0], [2.0], [4.0]])})
>>> genres(torch.tensor([[1, 3, 0], [2, 0, 0], [0, 0, 0]], dtype=torch.int32)).flatten().tolist()
[2.5, 2.0, 0.0]
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

PART = 8
"""A table is kept as rows beside a whole one while this part of its rows, as its inverse, or fewer differ from it."""
_COMPARED = 1 << 14
"""Rows of two tables that are compared at once, which the processor's cache holds."""


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
    most
        Columns of the field in the categorical input: 1, or the largest number of values of a row. The value 0 is then
        padding.
    """

    name: str
    rows: int
    federated: bool
    most: int = 1


class FieldEmbeddings(nn.Module):
    """Tables of several fields, stacked into one so that a batch needs one gather.

    A field of several values contributes the mean of their embeddings, and zeros in a row without a value.

    Parameters
    ----------
    rows
        Number of rows of each field's table.
    columns
        First column of each field in the categorical input.
    dim
        Width of an embedding.
    federated
        Whether these tables are shared between scenarios.
    most
        Number of columns of each field; None: one each.

    Attributes
    ----------
    sparse
        Whether the gradient is a sparse tensor with an entry for each use of a row in the batch, so that it takes no
        memory for the other rows; off at first, as not every optimiser takes such a gradient.
    """

    offsets: Tensor
    columns: Tensor
    fields: Tensor
    padded: Tensor

    def __init__(
        self,
        rows: Sequence[int],
        columns: Sequence[int],
        dim: int,
        *,
        federated: bool,
        most: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.federated = federated
        self.sparse = False
        widths = [1] * len(rows) if most is None else list(most)
        self._fields = len(widths)
        self.weight = nn.Parameter(torch.zeros(sum(rows), dim))
        starts = [0, *accumulate(rows)][: len(rows)]
        # Not persistent: they follow from the specification, so they need not be saved or sent.
        offsets = [start for start, width in zip(starts, widths, strict=True) for _ in range(width)]
        own = [first + place for first, width in zip(columns, widths, strict=True) for place in range(width)]
        fields = [field for field, width in enumerate(widths) for _ in range(width)]
        padded = [width > 1 for width in widths for _ in range(width)]
        self.several = any(padded)
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        self.register_buffer("columns", torch.tensor(own, dtype=torch.int64), persistent=False)
        self.register_buffer("fields", torch.tensor(fields, dtype=torch.int64), persistent=False)
        self.register_buffer("padded", torch.tensor(padded, dtype=torch.bool), persistent=False)

    def rows_of(self, categorical: Tensor) -> Tensor:
        """Return the row of each value in the stacked table, (B, C) int32; C is F if no field has several values."""
        return categorical.index_select(1, self.columns) + self.offsets

    def used_rows(self, categorical: Tensor) -> Tensor:
        """Return the row of each use of the stacked table in a batch, (uses,) int64; padding uses none."""
        rows = self.rows_of(categorical)
        if self.several:
            rows = rows[(rows > self.offsets) | ~self.padded]
        return rows.flatten().long()

    def forward(self, categorical: Tensor) -> Tensor:
        """Embed ``categorical`` (B, all columns) int32 as (B, F * dim)."""
        rows = self.rows_of(categorical)
        if rows.is_cuda or self.sparse:
            embedded = functional.embedding(rows, self.weight, sparse=self.sparse)  # (B, C, dim)
        else:  # half the time forth and back, with the same bits
            embedded = self.weight.index_select(0, rows.flatten().long()).view(*rows.shape, -1)
        if self.several:
            embedded = self._pooled(embedded, (rows > self.offsets) | ~self.padded)
        return embedded.flatten(1)

    def _pooled(self, embedded: Tensor, used: Tensor) -> Tensor:
        """Return the mean of each field's embeddings (B, C, dim) over the columns in use (B, C), (B, F, dim)."""
        used = used.to(embedded.dtype)
        sums = embedded.new_zeros(embedded.shape[0], self._fields, embedded.shape[2])
        sums = sums.index_add(1, self.fields, embedded * used.unsqueeze(2))
        counts = used.new_zeros(used.shape[0], self._fields).index_add(1, self.fields, used)
        return sums / counts.clamp(min=1.0).unsqueeze(2)

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


def differing_rows(one: Tensor, other: Tensor) -> Tensor:
    """Return where the rows of two tables (R, d) differ in any bit, (R,) bool.

    >>> differing_rows(torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [-0.0]])).tolist()
    [False, True]
    """
    one, other = words_of_rows(one), words_of_rows(other)
    differs = torch.empty(len(one), dtype=torch.bool, device=one.device)
    for start in range(0, len(one), _COMPARED):
        piece = slice(start, start + _COMPARED)
        torch.any(one[piece] != other[piece], 1, out=differs[piece])
    return differs


def few_differing_rows(whole: Tensor, table: Tensor) -> Tensor | None:
    """Return the rows (n,) in which a table differs from a whole one; None if they are many, or its form is another.

    Rows are many if they are more than one in `PART`.

    >>> few_differing_rows(torch.zeros(8, 1), torch.eye(8)[:, :1]).tolist()
    [0]
    >>> few_differing_rows(torch.zeros(8, 1), torch.ones(8, 1)) is None
    True
    """
    if (whole.shape, whole.dtype) != (table.shape, table.dtype):
        return None
    rows = differing_rows(whole, table).nonzero().flatten()
    return rows if len(rows) * PART <= len(table) else None


def words_of_rows(table: Tensor) -> Tensor:
    """Return the bits of the rows of a table (R, d) as integers (R, w), as long ones as a row is made of.

    >>> words_of_rows(torch.tensor([[1.0, 0.0], [0.0, -0.0]])).tolist()
    [[1065353216], [-9223372036854775808]]
    """
    bytes_of_row = table.shape[1] * table.element_size()
    word = next(kind for kind in (torch.int64, torch.int32, torch.uint8) if not bytes_of_row % kind.itemsize)
    return table.contiguous().flatten().view(word).view(len(table), bytes_of_row // word.itemsize)
