"""Checksum of a table: the sum over its rows of a hash of the row's number and bits.

What a changed row adds is known without the other rows, so that a checksum follows changes at the cost of their rows.
It tells apart tables that differ by mistake; somebody who wants to can find two tables with the same one.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.aggregation.table_checksum import sum_of_rows, table_checksum
>>> table = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
>>> rows, values = torch.tensor([1]), torch.tensor([[3.0, -4.0]])
>>> change = sum_of_rows(rows, values) - sum_of_rows(rows, table[rows])
>>> torch.equal(table_checksum(table.index_copy(0, rows, values)), table_checksum(table) + change)
True

References
----------
Bellare and Micciancio, "A New Paradigm for Collision-free Hashing: Incrementality at Reduced Cost", Eurocrypt 1997
(AdHash), for the sum; Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, for the
mixing of bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pfmsmtrec_flwr.model.embeddings import words_of_rows

_AT_ONCE = 16_384
_STEP = -7046029254386353131
"""Odd number near 2**64 divided by the golden ratio, in two's complement; products and sums are modulo 2**64."""


def table_checksum(table: Tensor) -> Tensor:
    """Return the checksum of a table (R, d), () int64."""
    return sum_of_rows(torch.arange(len(table)), table)


def sum_of_rows(rows: Tensor, values: Tensor) -> Tensor:
    """Return what some rows of a table add to its checksum, () int64.

    Parameters
    ----------
    rows
        Row numbers (n,) int64.
    values
        Values of these rows (n, d).
    """
    words = words_of_rows(values.detach())
    factors = _mixed(_STEP * torch.arange(1, 1 + words.shape[1])) | 1
    total = torch.zeros((), dtype=torch.int64)
    for first in range(0, len(rows), _AT_ONCE):
        piece = words[first : first + _AT_ONCE]
        hashes = _STEP * (rows[first : first + _AT_ONCE] + 1)
        for column, factor in zip(piece.T, factors, strict=True):
            hashes.addcmul_(column.long(), factor)
        total += _mixed(hashes).sum()
    return total


def _mixed(numbers: Tensor) -> Tensor:
    """Return numbers (n,) int64 of which each bit depends on all bits: the finaliser of SplitMix64."""
    numbers = (numbers ^ _shifted(numbers, 30)) * -4658895280553007687
    numbers = (numbers ^ _shifted(numbers, 27)) * -7723592293110705685
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Return numbers shifted to the right, with zeros from the left."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
