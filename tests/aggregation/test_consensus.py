"""Weighted means and the pull towards them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.consensus import mixture_weights, pull_to_consensus, weighted_mean


def test_weights_are_shares_of_the_examples() -> None:
    assert mixture_weights([1, 3, 0]).tolist() == [0.25, 0.75, 0.0]


def test_without_examples_all_count_alike() -> None:
    assert mixture_weights([0, 0, 0, 0]).tolist() == [0.25] * 4


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_weights_sum_to_one(examples: list[int]) -> None:
    torch.testing.assert_close(mixture_weights(examples).sum(), torch.tensor(1.0, dtype=torch.float64))


def test_mean_by_hand() -> None:
    values = torch.tensor([[[1.0, 2.0]], [[5.0, -2.0]]])
    mean = weighted_mean(values, torch.tensor([0.25, 0.75], dtype=torch.float64))
    assert torch.equal(mean, torch.tensor([[4.0, -1.0]]))
    assert mean.dtype == torch.float32


def test_a_single_scenario_is_kept_to_the_bit() -> None:
    values = torch.randn(1, 30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(weighted_mean(values, mixture_weights([17])), values[0])


def test_counters_stay_whole_numbers() -> None:
    mean = weighted_mean(
        torch.tensor([10, 13]), torch.tensor([0.5, 0.5], dtype=torch.float64) * torch.tensor([0.8, 1.2])
    )
    assert mean.dtype == torch.int64
    assert int(mean) == 12  # 4 + 7.8, rounded


def test_pull_by_hand() -> None:
    pulled = pull_to_consensus(torch.tensor([[1.0, 2.0], [3.0, 6.0]]), torch.tensor([2.0, 4.0]), 0.25)
    assert torch.equal(pulled, torch.tensor([[1.25, 2.5], [2.75, 5.5]]))


def test_without_a_pull_every_bit_stays() -> None:
    values = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        pull_to_consensus(values, values.mean(dim=0) * 1e6, 0.0).view(torch.int32), values.view(torch.int32)
    )


def test_a_full_pull_is_the_consensus() -> None:
    values = torch.randn(3, 40, generator=torch.Generator().manual_seed(2))
    consensus = values.mean(dim=0)
    assert torch.equal(pull_to_consensus(values, consensus, 1.0), consensus.expand(3, -1))


@given(st.floats(0, 1))
def test_who_is_at_the_consensus_stays_there(strength: float) -> None:
    values = torch.randn(1, 40, generator=torch.Generator().manual_seed(3))
    assert torch.equal(pull_to_consensus(values, values[0], strength), values)
