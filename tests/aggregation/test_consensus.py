"""Weighted means and the pull towards them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.aggregation.consensus import (
    consensus_weights,
    mixture_weights,
    pull_to_consensus,
    weighted_mean,
)

EYE = torch.eye(3, dtype=torch.float64)
ONES = torch.ones(3, 3, dtype=torch.float64)


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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
    values = drawn(1, 30, seed=0)
    assert torch.equal(weighted_mean(values, mixture_weights([17])), values[0])


def test_counters_stay_whole_numbers() -> None:
    mean = weighted_mean(
        torch.tensor([10, 13]), torch.tensor([0.5, 0.5], dtype=torch.float64) * torch.tensor([0.8, 1.2])
    )
    assert mean.dtype == torch.int64
    assert int(mean) == 12  # 4 + 7.8, rounded


def test_a_consensus_counts_examples_and_agreement() -> None:
    weights = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    agreement = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor([[0.8, 0.2, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(consensus_weights(weights, agreement), expected)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=8), st.integers(0, 10**6))
def test_each_consensus_has_weights_that_sum_to_one(examples: list[int], seed: int) -> None:
    size = len(examples)
    agreement = drawn(size, size, seed=seed).abs().clamp(max=1.0).double().fill_diagonal_(1.0)
    weights = consensus_weights(mixture_weights(examples), agreement)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(size, dtype=torch.float64))
    assert bool((weights >= 0).all())


def test_where_all_agree_there_is_one_consensus() -> None:
    weights = mixture_weights([3, 5, 8])
    torch.testing.assert_close(consensus_weights(weights, ONES), weights.expand(3, -1))
    values = drawn(3, 4, 5, seed=4)
    pulled = pull_to_consensus(values, consensus_weights(weights, ONES), 1.0)
    torch.testing.assert_close(pulled, weighted_mean(values, weights).expand(3, -1, -1))


@given(st.floats(0, 1))
def test_where_nobody_agrees_nothing_is_pulled(strength: float) -> None:
    alone = consensus_weights(mixture_weights([3, 5, 8]), EYE)
    assert torch.equal(alone, EYE)
    values = drawn(3, 40, seed=3)
    assert torch.equal(pull_to_consensus(values, alone, strength), values)


def test_pull_by_hand() -> None:
    weights = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)
    pulled = pull_to_consensus(torch.tensor([[1.0, 2.0], [3.0, 6.0]]), weights, 0.25)
    assert torch.equal(pulled, torch.tensor([[1.25, 2.5], [2.875, 5.75]]))  # to (2, 4) and to (2.5, 5)
    assert pulled.dtype == torch.float32


def test_without_a_pull_every_bit_stays() -> None:
    values = drawn(3, 40, seed=1)
    assert torch.equal(pull_to_consensus(values, ONES * 1e6, 0.0).view(torch.int32), values.view(torch.int32))


def test_a_full_pull_is_the_consensus() -> None:
    weights = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    values = drawn(3, 40, seed=2)
    pulled = pull_to_consensus(values, weights, 1.0)
    assert torch.equal(pulled, torch.stack([values[0], values[0], (values[1] + values[2]) / 2]))


@given(st.floats(0, 1))
def test_who_is_at_the_consensus_stays_there(strength: float) -> None:
    values = drawn(1, 40, seed=3)
    assert torch.equal(pull_to_consensus(values, torch.ones(1, 1, dtype=torch.float64), strength), values)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_who_agrees_with_nobody_neither_pulls_nor_is_pulled(strength: float) -> None:
    agreement = torch.tensor([[1.0, 0.7, 0.0], [0.7, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    values = drawn(3, 40, seed=5)
    pulled = pull_to_consensus(values, consensus_weights(mixture_weights([2, 3, 1000]), agreement), strength)
    assert torch.equal(pulled[2], values[2])
    without = pull_to_consensus(values[:2], consensus_weights(mixture_weights([2, 3]), agreement[:2, :2]), strength)
    torch.testing.assert_close(pulled[:2], without)
