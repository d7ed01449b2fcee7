"""Adagrad for embedding tables of which a batch uses few rows.

A step takes time and memory in proportion to the rows of the batch, and sums of squared gradients are kept for the rows
that were used so far alone. A row without a gradient does not move under Adagrad, so every bit of the tables is what
`torch.optim.Adagrad` makes of them.

Examples
--------
>>> import torch
>>> from torch.nn.functional import embedding
>>> from pfmsmtrec_flwr.training.row_adagrad import RowAdagrad
>>> table = torch.nn.Parameter(torch.zeros(5, 1))  # (R, d)
>>> optimizer = RowAdagrad([table], lr=0.5)
>>> embedding(torch.tensor([3, 1, 3]), table, sparse=True).sum().backward()
>>> optimizer.step()
>>> table.flatten().tolist()
[0.0, -0.5, 0.0, -0.5, 0.0]
>>> {kind: values.flatten().tolist() for kind, values in optimizer.moments_of(table).items()}
{'rows': [1, 3], 'sum': [1.0, 4.0]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.adagrad import adagrad

EPSILON = 1e-10
"""Summand of the root of the sums, as in `torch.optim.Adagrad`."""
_PIECE = 1 << 13
"""Rows that are moved at once: those of a large table are still in the processor's cache when they are written back."""


class RowSums:
    """Sums of squared gradients of the rows of a table (R, d) that were used so far.

    Parameters
    ----------
    table
        Table.
    """

    def __init__(self, table: Tensor) -> None:
        self._places = torch.zeros(len(table), dtype=torch.int32, device=table.device)  # from 1; 0: not used yet
        self._rows = torch.empty(0, dtype=torch.int32, device=table.device)
        self._sums = table.new_empty(0, table.shape[1])
        self._used = 0

    @property
    def rows(self) -> Tensor:
        """Numbers of the rows (n,) int32, in the order of their first use."""
        return self._rows[: self._used]

    @property
    def sums(self) -> Tensor:
        """Sums of these rows (n, d)."""
        return self._sums[: self._used]

    def places_of(self, rows: Tensor) -> Tensor:
        """Return the places in `sums` of some rows (m,), each once; rows that were not used yet get zeros."""
        places = self._places.index_select(0, rows)
        new = (places == 0).nonzero().flatten()
        if len(new):
            before = self._used
            self.add(rows.index_select(0, new), self._sums.new_zeros(len(new), self._sums.shape[1]))
            places.index_copy_(0, new, self._counted(before))
        return places - 1

    def add(self, rows: Tensor, sums: Tensor) -> None:
        """Add rows (m,), none of which was used yet, with their sums (m, d)."""
        before, self._used = self._used, self._used + len(rows)
        if self._used > len(self._rows):
            self._rows = _longer(self._rows, self._used)
            self._sums = _longer(self._sums, self._used)
        self._rows[before : self._used] = rows
        self._sums[before : self._used] = sums
        self._places.index_copy_(0, rows.long(), self._counted(before))

    def _counted(self, before: int) -> Tensor:
        """Return the places of the rows that were added after some others, from 1."""
        return torch.arange(before + 1, self._used + 1, dtype=torch.int32, device=self._places.device)


class RowAdagrad(torch.optim.Optimizer):
    """Adagrad without weight decay, row by row.

    Parameters
    ----------
    tables
        Tables (R, d); their gradients are sparse, as of an embedding with ``sparse=True``, or dense.
    lr
        Learning rate.
    """

    def __init__(self, tables: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(tables, {"lr": lr})
        self._sums: dict[nn.Parameter, RowSums] = {}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 - as of all optimisers
        """Move the rows that have a gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, *gradient_by_row(table.grad), group["lr"])

    def moments_of(self, table: nn.Parameter) -> dict[str, Tensor]:
        """Return the ``rows`` (n,) of a table that were used so far and their ``sum`` (n, d); empty if none was."""
        kept = self._sums.get(table)
        return {} if kept is None else {"rows": kept.rows, "sum": kept.sums}

    def restore(self, table: nn.Parameter, moments: Mapping[str, Tensor]) -> None:
        """Go on from moments that `moments_of` returned, before the first step."""
        self._sums[table] = RowSums(table)
        self._sums[table].add(moments["rows"], moments["sum"])

    def _move(self, table: nn.Parameter, rows: Tensor, gradient: Tensor, lr: float) -> None:
        if table not in self._sums:
            self._sums[table] = RowSums(table)
        kept = self._sums[table]
        places = kept.places_of(rows)
        for start in range(0, len(rows), _PIECE):
            piece = slice(start, start + _PIECE)
            some, own, change = rows[piece], places[piece], gradient[piece]
            values, sums = table.index_select(0, some), kept.sums.index_select(0, own)
            adagrad(
                [values],
                [change],
                [sums],
                [torch.zeros(())],  # the number of the step counts only where the rate decays
                fused=table.device.type == "cpu" or None,
                lr=lr,
                lr_decay=0.0,
                weight_decay=0.0,
                eps=EPSILON,
                maximize=False,
            )
            table.index_copy_(0, some, values)
            kept.sums.index_copy_(0, own.long(), sums)


def gradient_by_row(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (n,) of a table that have a gradient, ascending and each once, and their gradients (n, d).

    Uses of a row are summed in their order, as a dense gradient sums them.

    Parameters
    ----------
    gradient
        Gradient of the table (R, d), sparse or dense.
    """
    if not gradient.is_sparse:
        rows = gradient.any(dim=1).nonzero().flatten()
        return rows, gradient[rows]
    rows, places = torch.unique(gradient._indices()[0], return_inverse=True)
    values = gradient._values()
    return rows, values.new_zeros(len(rows), values.shape[1]).index_add_(0, places, values)


def _longer(tensor: Tensor, length: int) -> Tensor:
    """Return a copy with room for at least `length` rows, and for twice those that it has."""
    longer = tensor.new_empty(max(length, 2 * len(tensor)), *tensor.shape[1:])
    longer[: len(tensor)] = tensor
    return longer
