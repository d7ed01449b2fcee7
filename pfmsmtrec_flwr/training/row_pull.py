"""The pull of a large embedding table to anchors, on the rows that it moves alone.

A pull leaves a row that is equal to its anchor as it is. So it moves no rows but those that differ from an anchor at
first, and those that were trained since. The bits are those of `objective.pull_to_anchors` on the whole table.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings
>>> from pfmsmtrec_flwr.training.row_pull import RowPull
>>> table = FieldEmbeddings(rows=[40], columns=[0], dim=1, federated=True)  # (R, d)
>>> pull = RowPull(table, [(torch.zeros(40, 1), 1.0)])
>>> with torch.no_grad():
...     _ = table.weight[3].fill_(8.0)
>>> pull(torch.tensor([[3], [3]], dtype=torch.int32))
>>> table.weight[:4].flatten().tolist()
[0.0, 0.0, 0.0, 4.0]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings, differing_rows
from pfmsmtrec_flwr.training.objective import pull_to_anchors

_MANY = 4
"""Part of a table's rows, as its inverse, from which a pull of the whole table takes less time."""


class RowPull:
    """Pulls of one table after each step of the optimiser.

    Parameters
    ----------
    table
        Table (R, d), before it is trained.
    anchors
        Anchors (R, d) that it is pulled to in turn, each with its step as in `objective.pull_to_anchors`.
    """

    def __init__(self, table: FieldEmbeddings, anchors: Sequence[tuple[Tensor, float]]) -> None:
        self._table = table
        self._anchors = anchors
        self._moves = torch.zeros(len(table.weight), dtype=torch.bool, device=table.weight.device)
        for anchor, _ in anchors:
            self._moves |= differing_rows(table.weight.detach(), anchor)
        self._rows = self._moves.nonzero().flatten()

    @torch.no_grad()
    def __call__(self, categorical: Tensor) -> None:
        """Pull the table after a step on a batch (B, all columns)."""
        self._add(self._table.used_rows(categorical))
        weight = self._table.weight
        whole = len(self._rows) * _MANY > len(weight)
        values = weight.detach() if whole else weight.index_select(0, self._rows)
        for anchor, step in self._anchors:
            pull_to_anchors([(values, anchor if whole else anchor.index_select(0, self._rows))], step)
        if not whole:
            weight.index_copy_(0, self._rows, values)

    def _add(self, used: Tensor) -> None:
        new = torch.unique(used[~self._moves.index_select(0, used)])
        self._moves[new] = True
        self._rows = torch.cat([self._rows, new])
