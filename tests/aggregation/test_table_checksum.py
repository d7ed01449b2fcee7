from __future__ import annotations

import pytest
import torch

from pfmsmtrec_flwr.aggregation.table_checksum import sum_of_rows, table_checksum

MASK = (1 << 64) - 1


def mixed(number: int) -> int:
    """Return the finaliser of SplitMix64 in numbers without bounds."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


def test_it_is_the_sum_of_the_mixed_rows() -> None:
    table = torch.tensor([[1, -2], [3, 4]])  # rows of two words
    step = 0x9E3779B97F4A7C15
    factors = [mixed(step * word & MASK) | 1 for word in (1, 2)]
    hashes = [
        mixed((step * (row + 1) + sum(word * factor for word, factor in zip(words, factors, strict=True))) & MASK)
        for row, words in enumerate(table.tolist())
    ]
    assert int(table_checksum(table)) & MASK == sum(hashes) & MASK


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_what_differs_has_another_checksum(width: int) -> None:
    table = torch.randn(40_000, width, generator=torch.Generator().manual_seed(width))
    table[7] = 0.0
    known = table_checksum(table)
    assert torch.equal(known, table_checksum(table.clone()))
    other = {name: table.clone() for name in ("a sign of zero", "two rows turned", "a bit", "two columns turned")}
    other["a sign of zero"][7, 0] = -0.0
    other["two rows turned"][[3, 20_000]] = table[[20_000, 3]]
    other["a bit"].view(torch.int32)[39_999, width - 1] ^= 1
    other["two columns turned"][5] = table[5].flip(0)
    for name, each in other.items():
        if name != "two columns turned" or width > 1:
            assert not torch.equal(known, table_checksum(each)), name
    assert not torch.equal(known, table_checksum(table[:-1]))


def test_parts_add_up() -> None:
    table = torch.randn(50_000, 4, generator=torch.Generator().manual_seed(0))
    odd = torch.arange(1, 50_000, 2)
    assert torch.equal(table_checksum(table), sum_of_rows(odd, table[odd]) + sum_of_rows(odd - 1, table[odd - 1]))
    assert sum_of_rows(odd[:0], table[:0]).item() == 0
