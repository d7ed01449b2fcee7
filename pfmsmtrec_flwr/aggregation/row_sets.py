"""Sets of rows of a table: row numbers (n,) int64 that ascend without repetition.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.aggregation.row_sets import joined_rows, places_of_common, united_rows
>>> one, other = torch.tensor([1, 4, 6]), torch.tensor([2, 4])
>>> [places.tolist() for places in places_of_common(one, other)]  # row 4
[[1], [1]]
>>> united_rows(one, other).tolist()
[1, 2, 4, 6]
>>> [found.tolist() for found in joined_rows(one, torch.tensor([5]))]
[[1, 4, 5, 6], [0, 1, 3], [2]]
"""

from __future__ import annotations

import torch
from torch import Tensor


def places_of_common(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of the rows that two sets have in common, in the one and in the other, (m,) each."""
    if len(one) > len(other):  # the shorter one is looked up in the longer one
        second, first = places_of_common(other, one)
        return first, second
    places = torch.searchsorted(other, one).clamp_(max=len(other) - 1)
    found = (other[places] == one).nonzero().flatten()
    return found, places[found]


def put_rows(values: Tensor, rows: Tensor, new: Tensor, new_rows: Tensor) -> Tensor:
    """Put new values (n, d) of some rows (n,) into the values (m, d) of others (m,) in place, and return these."""
    places, of_new = places_of_common(rows, new_rows)
    return values.index_copy_(0, places, new[of_new])


def united_rows(one: Tensor, other: Tensor) -> Tensor:
    """Return the rows of two sets; the first set itself where it has them all."""
    new = torch.ones(len(other), dtype=torch.bool)
    new[places_of_common(one, other)[1]] = False
    return joined_rows(one, other[new])[0] if new.any() else one


def joined_rows(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of two sets that have none in common, and the places where the one and the other lie in them."""
    second = torch.searchsorted(one, other) + torch.arange(len(other))
    of_first = torch.ones(len(one) + len(other), dtype=torch.bool)
    of_first[second] = False
    first = of_first.nonzero().flatten()
    joined = torch.empty(len(of_first), dtype=torch.int64)
    joined[first], joined[second] = one, other
    return joined, first, second
