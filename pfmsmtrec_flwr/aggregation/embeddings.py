"""Averages of federated embedding tables, of which each scenario reports the rows that it touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """The rows of a table that one scenario's training touched.

    Attributes
    ----------
    rows
        Their numbers, ascending, each once, (n,) int64.
    values
        Their new values (n, d).
    counts
        How often each was used in training (n,) int64.
    """

    rows: Tensor
    values: Tensor
    counts: Tensor


def average_rows(table: Tensor, updates: Sequence[RowUpdate], weights: Tensor | None = None) -> Tensor:
    """Average each row over the scenarios that touched it, weighted by how often; other rows stay.

    Plain averaging counts a scenario that never saw a row as one that wants it unchanged, and so dilutes rare rows.

    Parameters
    ----------
    table
        The table that the scenarios started from (R, d).
    updates
        One per scenario, in the fixed order of the scenarios.
    weights
        What each scenario's uses of a row count, (K,), not negative; none given: one.

    References
    ----------
    Ding et al., "Federated Submodel Optimization for Hot and Cold Data Features", NeurIPS 2022.
    """
    of_scenarios = [1.0] * len(updates) if weights is None else weights.tolist()
    counting = [(update, weight) for update, weight in zip(updates, of_scenarios, strict=True) if weight > 0]
    totals = torch.zeros(len(table), dtype=torch.float64)
    for update, weight in counting:
        totals.index_add_(0, update.rows, weight * update.counts.double())
    averaged = torch.where((totals > 0).unsqueeze(1), 0.0, table)
    for update, weight in counting:
        share = weight * update.counts.double() / totals[update.rows]  # exactly 1 where a row has one scenario
        averaged.index_add_(0, update.rows, share.to(table.dtype).unsqueeze(1) * update.values)
    return averaged


def use_weights(updates: Sequence[RowUpdate], balance: float) -> Tensor:
    """Return what one use of a row counts in each scenario, (K,) float64, one at most.

    ``(n_min / n_s) ** balance``, n_s all uses of rows by scenario s (ours). Counting each use alike, a row says what
    it means in the largest scenario; counting shares of uses, what it means in the scenarios on average.

    Parameters
    ----------
    updates
        One per scenario; those without any use have a weight of one, which nothing is multiplied by.
    balance
        In [0, 1]; 0: each use counts one.
    """
    uses = torch.tensor([float(update.counts.sum()) for update in updates], dtype=torch.float64)
    some = uses > 0
    if not some.any():
        return torch.ones(len(updates), dtype=torch.float64)
    return torch.where(some, (uses[some].min() / uses.clamp(min=1.0)) ** balance, 1.0)


def average_tables(table: Tensor, updates: Sequence[RowUpdate], weights: Tensor) -> Tensor:
    """Average whole tables, as FedAvg does: a scenario that did not touch a row counts with the value it started from.

    Parameters
    ----------
    table
        The table that the scenarios started from (R, d).
    updates
        One per scenario.
    weights
        Weight of each scenario (K,), summing to one.
    """
    changed = torch.zeros_like(table)
    touched = torch.zeros(len(table), dtype=torch.float64)
    for update, weight in zip(updates, weights.tolist(), strict=True):
        changed.index_add_(0, update.rows, weight * update.values)
        touched.index_add_(0, update.rows, torch.full((len(update.rows),), weight, dtype=torch.float64))
    kept = (1.0 - touched).clamp(min=0).to(table.dtype).unsqueeze(1)
    return changed + kept * table
