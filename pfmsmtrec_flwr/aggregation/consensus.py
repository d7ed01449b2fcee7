"""The consensus of the scenarios: weighted means, and the pull of personal parameters towards them.

Examples
--------
The first scenario has three times the examples of the second, so the consensus of 4 is nearer to its value.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.consensus import consensus_weights, mixture_weights, pull_to_consensus
>>> weights = consensus_weights(mixture_weights([300, 100]), torch.ones(2, 2))  # all scenarios agree
>>> weights.tolist()
[[0.75, 0.25], [0.75, 0.25]]
>>> pull_to_consensus(torch.tensor([2.0, 10.0]), weights, strength=0.5).tolist()
[3.0, 7.0]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mixture_weights(examples: Sequence[int]) -> Tensor:
    """Return each scenario's share of all examples, (K,) float64; the shares are equal where there are no examples."""
    counts = torch.tensor(examples, dtype=torch.float64)
    total = counts.sum()
    return counts / total if total > 0 else torch.full_like(counts, 1.0 / len(counts))


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over the scenarios of ``values`` (K, ...) with ``weights`` (K,) that sum to one.

    The mean of integers is rounded.
    """
    if not values.is_floating_point():  # such as a counter of batches
        return torch.einsum("k,k...->...", weights, values.double()).round().to(values.dtype)
    return torch.einsum("k,k...->...", weights.to(values.dtype), values)


def consensus_weights(weights: Tensor, agreement: Tensor) -> Tensor:
    """Return the weights (K, K) of all scenarios in each scenario's consensus; each row sums to one.

    Parameters
    ----------
    weights
        Weights of the scenarios (K,), such as their shares of all examples.
    agreement
        Agreement of each pair of scenarios in [0, 1], (K, K), with ones on the diagonal. Where all are one, all
        scenarios have the same consensus.
    """
    counted = agreement * weights
    return counted / counted.sum(dim=1, keepdim=True)


def pull_to_consensus(values: Tensor, weights: Tensor, strength: float) -> Tensor:
    """Pull each scenario's values to its consensus.

    ``(1 - strength) * value_s + strength * sum_j weights_sj * value_j``. A strength of 0 keeps every bit.

    Parameters
    ----------
    values
        Values of each scenario (K, ...).
    weights
        Weights of all scenarios in each consensus (K, K), see `consensus_weights`.
    strength
        μ in [0, 1].
    """
    consensus = torch.einsum("sj,j...->s...", weights.to(values.dtype), values)
    return torch.lerp(values, consensus, strength, out=consensus)
