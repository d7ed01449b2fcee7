"""Averages over scenarios: the mean, and two that a minority of odd values hardly moves.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.aggregation.averages import average
>>> values = torch.tensor([[1.0], [2.0], [6.0], [1000.0]])  # (K, ...)
>>> weights = torch.tensor([0.25, 0.25, 0.25, 0.25], dtype=torch.float64)
>>> [average(values, weights, kind).item() for kind in ("mean", "median", "trimmed")]
[252.25, 4.0, 4.0]

Rows of a table are averaged over the scenarios that touched them.

>>> from pfmsmtrec_flwr.aggregation.averages import robust_rows
>>> from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
>>> one = torch.ones(1, dtype=torch.int64)
>>> updates = [RowUpdate(torch.tensor([1]), torch.tensor([[value]]), one) for value in (1.0, 2.0, 900.0)]
>>> robust_rows(torch.zeros(2, 1), updates, "median", untouched_count=False).tolist()
[[0.0], [2.0]]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.consensus import weighted_mean
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, touched_rows
from pfmsmtrec_flwr.config import AverageKind

TRIMMED = 0.2
"""Share of the scenarios that a trimmed mean leaves out at each end: at least one of three or more."""
ROWS_AT_ONCE = 65_536
"""Largest number of a table's rows that are copied at once, for each scenario."""


def average(values: Tensor, weights: Tensor, kind: AverageKind) -> Tensor:
    """Return the average over the scenarios of ``values`` (K, ...).

    ``mean`` is weighted by ``weights`` (K,), which sum to one. The others are those of `middle`. The average of
    integers is rounded.
    """
    if kind == "mean":
        return weighted_mean(values, weights)
    if not values.is_floating_point():  # such as a counter of batches
        return middle(values.double(), kind).round().to(values.dtype)
    return middle(values, kind)


def middle(values: Tensor, kind: AverageKind) -> Tensor:
    """Return the median or the trimmed mean over the scenarios of ``values`` (K, ...), element by element.

    All scenarios have the same weight. Both averages of two values are their mean.

    References
    ----------
    Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018; Flower's FedMedian and FedTrimmedAvg.
    """
    return _middle_mean(values, torch.tensor(len(values)), kind)


def robust_rows(table: Tensor, updates: Sequence[RowUpdate], kind: AverageKind, *, untouched_count: bool) -> Tensor:
    """Return the median or the trimmed mean of each row of a table, element by element; all uses count alike.

    Parameters
    ----------
    table
        The table that the scenarios started from (R, d).
    updates
        One update per scenario.
    kind
        ``median`` or ``trimmed``.
    untouched_count
        Whether a scenario that did not touch a row counts with its starting value, or not at all.
    """
    rows, places = touched_rows(updates)
    averaged = table[rows]
    for first in range(0, len(rows), ROWS_AT_ONCE):
        start = averaged[first : first + ROWS_AT_ONCE]
        values = (start if untouched_count else torch.full_like(start, torch.inf)).repeat(len(updates), 1, 1)
        counting = torch.full((len(start),), len(updates) if untouched_count else 0)
        for own, update, of_update in zip(values, updates, places, strict=True):
            here = (of_update >= first) & (of_update < first + len(start))
            own[of_update[here] - first] = update.values[here]
            if not untouched_count:
                counting[of_update[here] - first] += 1
        averaged[first : first + len(start)] = _middle_mean(values, counting[:, None], kind)
    return table.index_copy(0, rows, averaged)


def _middle_mean(values: Tensor, counts: Tensor, kind: AverageKind) -> Tensor:
    """Return the mean of the values (K, ...) that are left when as many are cut at both ends.

    Parameters
    ----------
    values
        Values, of which those that do not count are infinite.
    counts
        Number of values that count, of a shape that fits one scenario's values.
    """
    cut = (counts - 1) // 2 if kind == "median" else (TRIMMED * counts).long().clamp(min=1)
    cut = torch.where(counts > 2, cut, 0)
    places = torch.arange(len(values)).view(-1, *[1] * (values.dim() - 1))
    inner = (places >= cut) & (places < counts - cut)
    kept = torch.where(inner, values.sort(dim=0).values, 0.0)
    return kept.sum(dim=0) / (counts - 2 * cut).to(values.dtype)
