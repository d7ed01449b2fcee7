"""Cross-attention between tower updates."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.towers import attend


def test_two_by_two_by_hand() -> None:
    # Scores <u_s, u_j> / sqrt(2): row 1 (4, 0) / sqrt(2), row 2 (0, 1) / sqrt(2).
    first = 1 / (1 + math.exp(-4 / math.sqrt(2)))
    second = 1 / (1 + math.exp(-1 / math.sqrt(2)))
    mixed = attend(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    expected = torch.tensor([[2 * first, 1 - first], [2 * (1 - second), second]])
    torch.testing.assert_close(mixed, expected)


def test_equal_updates_stay() -> None:
    update = torch.randn(7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attend(update.repeat(4, 1)), update.repeat(4, 1))


def test_one_scenario_keeps_its_bits() -> None:
    update = torch.randn(1, 7, generator=torch.Generator().manual_seed(1))
    assert torch.equal(attend(update), update)


@given(st.permutations(range(5)))
def test_the_order_of_the_scenarios_does_not_matter(order: list[int]) -> None:
    updates = torch.randn(5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(attend(updates[order]), attend(updates)[order])


def test_large_updates_stay_finite_and_follow_themselves() -> None:
    updates = torch.eye(3) * 1e8
    torch.testing.assert_close(attend(updates), updates)
