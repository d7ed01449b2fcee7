"""Averages of federated embedding tables, of which each scenario reports the rows that its training touched.

Examples
--------
Both scenarios touched row 1; the second one used it three times as often. Row 0 keeps its value.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows
>>> table = torch.zeros(3, 1)  # (R, d)
>>> first = RowUpdate(rows=torch.tensor([1]), values=torch.tensor([[4.0]]), counts=torch.tensor([1]))
>>> second = RowUpdate(torch.tensor([1, 2]), torch.tensor([[8.0], [5.0]]), torch.tensor([3, 1]))
>>> average_rows(table, [first, second]).flatten().tolist()
[0.0, 7.0, 5.0]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """Rows of a table that one scenario's training touched.

    Attributes
    ----------
    rows
        Row numbers, ascending and without repetition, (n,) int64.
    values
        New values of these rows (n, d).
    counts
        Number of uses of each row in training (n,) int64.
    """

    rows: Tensor
    values: Tensor
    counts: Tensor


def average_rows(table: Tensor, updates: Sequence[RowUpdate], weights: Tensor | None = None) -> Tensor:
    """Average each row over the scenarios that touched it, weighted by their uses of it; other rows stay.

    Plain averaging counts a scenario that never saw a row as one that keeps it, which dilutes rare rows.

    Parameters
    ----------
    table
        The table that the scenarios started from (R, d).
    updates
        One update per scenario, in the fixed order of the scenarios.
    weights
        Weight of one use of a row in each scenario (K,), not negative; None: one in all scenarios.

    References
    ----------
    Ding et al., "Federated Submodel Optimization for Hot and Cold Data Features", NeurIPS 2022.
    """
    of_scenarios = [1.0] * len(updates) if weights is None else weights.tolist()
    counting = [(update, weight) for update, weight in zip(updates, of_scenarios, strict=True) if weight > 0]
    rows, places = touched_rows([update for update, _ in counting])
    totals = torch.zeros(len(rows), dtype=torch.float64)
    for (update, weight), own in zip(counting, places, strict=True):
        totals.index_add_(0, own, weight * update.counts.double())
    averaged = table.new_zeros(len(rows), *table.shape[1:])
    for (update, weight), own in zip(counting, places, strict=True):
        share = weight * update.counts.double() / totals[own]  # exactly 1 if one scenario touched it
        averaged.index_add_(0, own, share.to(table.dtype).unsqueeze(1) * update.values)
    return table.index_copy(0, rows, averaged)


def touched_rows(updates: Sequence[RowUpdate]) -> tuple[Tensor, list[Tensor]]:
    """Return the rows that some update touches, ascending (U,), and the places of each update's rows among them."""
    each = [update.rows for update in updates]
    rows = torch.unique(torch.cat([torch.empty(0, dtype=torch.int64), *each]))
    return rows, [torch.searchsorted(rows, own) for own in each]


def use_weights(updates: Sequence[RowUpdate], balance: float) -> Tensor:
    """Return the weight of one use of a row in each scenario, (K,) float64, at most one.

    The weight is ``(n_min / n_s) ** balance``, where n_s is the number of all uses of rows in scenario s (our
    construction). With a balance of 0 every use counts alike, and the largest scenario dominates the average. With a
    balance of 1 every scenario counts alike, by its share of uses.

    Parameters
    ----------
    updates
        One update per scenario. A scenario without any use has a weight of one, which has no effect.
    balance
        Exponent in [0, 1].
    """
    uses = torch.tensor([float(update.counts.sum()) for update in updates], dtype=torch.float64)
    some = uses > 0
    if not some.any():
        return torch.ones(len(updates), dtype=torch.float64)
    return torch.where(some, (uses[some].min() / uses.clamp(min=1.0)) ** balance, 1.0)


def average_tables(table: Tensor, updates: Sequence[RowUpdate], weights: Tensor) -> Tensor:
    """Average whole tables as FedAvg does: a scenario counts with its starting value for a row that it did not touch.

    Parameters
    ----------
    table
        The table that the scenarios started from (R, d).
    updates
        One update per scenario.
    weights
        Weight of each scenario (K,); they sum to one.
    """
    rows, places = touched_rows(updates)
    changed = table.new_zeros(len(rows), *table.shape[1:])
    touched = torch.zeros(len(rows), dtype=torch.float64)
    for update, own, weight in zip(updates, places, weights.tolist(), strict=True):
        changed.index_add_(0, own, weight * update.values)
        touched.index_add_(0, own, torch.full((len(own),), weight, dtype=torch.float64))
    kept = (1.0 - touched).clamp(min=0).to(table.dtype).unsqueeze(1)
    return table.index_copy(0, rows, changed + kept * table[rows])
