"""What the scenarios have in common: weighted means, and the pull of personal parameters towards them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mixture_weights(examples: Sequence[int]) -> Tensor:
    """Return each scenario's share of all examples, (K,) float64; equal shares where there are none."""
    counts = torch.tensor(examples, dtype=torch.float64)
    total = counts.sum()
    return counts / total if total > 0 else torch.full_like(counts, 1.0 / len(counts))


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over the scenarios of ``values`` (K, ...) with ``weights`` (K,) summing to one; a single one is kept."""
    if not values.is_floating_point():  # a counter of batches, say
        return torch.einsum("k,k...->...", weights, values.double()).round().to(values.dtype)
    return torch.einsum("k,k...->...", weights.to(values.dtype), values)


def consensus_weights(weights: Tensor, agreement: Tensor) -> Tensor:
    """Return how much each scenario counts in each scenario's consensus, (K, K), each row summing to one.

    Parameters
    ----------
    weights
        Of the scenarios (K,), such as their shares of all examples.
    agreement
        Of each pair, in [0, 1], (K, K), its diagonal one; all ones: one consensus for all.
    """
    counted = agreement * weights
    return counted / counted.sum(dim=1, keepdim=True)


def pull_to_consensus(values: Tensor, weights: Tensor, strength: float) -> Tensor:
    """Pull each scenario's values to its consensus.

    ``(1 - strength) * value_s + strength * sum_j weights_sj * value_j``; 0 keeps every bit.

    Parameters
    ----------
    values
        (K, ...).
    weights
        (K, K), see `consensus_weights`.
    strength
        μ in [0, 1].
    """
    consensus = torch.einsum("sj,j...->s...", weights.to(values.dtype), values)
    return torch.lerp(values, consensus, strength)
