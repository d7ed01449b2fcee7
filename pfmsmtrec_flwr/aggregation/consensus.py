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


def pull_to_consensus(values: Tensor, consensus: Tensor, strength: float) -> Tensor:
    """``(1 - strength) * value + strength * consensus`` for each scenario's ``values`` (K, ...); 0 keeps every bit."""
    return torch.lerp(values, consensus.expand_as(values), strength)
