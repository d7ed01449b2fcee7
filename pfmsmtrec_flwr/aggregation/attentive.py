"""Attentive message passing: each scenario gets a mixture of all models in which those near to its own weigh more."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def squared_distances(models: Tensor) -> Tensor:
    """Return the squared Euclidean distance of each pair of ``models`` (K, P), (K, K) float64, its diagonal zero."""
    double = models.double()
    gram = double @ double.T
    squares = gram.diagonal()
    distances = (squares[:, None] + squares[None, :] - 2 * gram).clamp(min=0)
    return distances.fill_diagonal_(0.0)


def attention(distances: Tensor, step: float, width: float) -> Tensor:
    """Return how much of each model goes into each scenario's mixture.

    ``xi_kj = alpha * A'(d_kj)`` for j other than k and ``xi_kk = 1 - sum_j xi_kj``, with
    ``A(d) = 1 - exp(-d / sigma)``, so that the mixtures are one step of gradient descent on the sum of A over all
    pairs. Distances are measured in their mean over pairs (ours), so that alpha and sigma do not depend on the size of
    the model. Where alpha would make one of the ``xi_kk`` negative, the largest one that does not is taken instead,
    for all scenarios.

    Parameters
    ----------
    distances
        Squared distances between the models (K, K).
    step
        alpha.
    width
        sigma, in mean squared distances.

    Returns
    -------
    Tensor
        (K, K), no entry negative, each row summing to one.

    References
    ----------
    FedAMP (Huang et al., AAAI 2021, section 3 and algorithm 1).
    """
    scenarios = len(distances)
    mean = distances.sum() / max(1, scenarios * (scenarios - 1))
    relative = distances / torch.where(mean > 0, mean, 1.0)
    slope = (torch.exp(-relative / width) / width).fill_diagonal_(0.0)  # A'
    others = slope * (1.0 / slope.sum(dim=1).max()).clamp(max=step)
    return others + torch.diag((1.0 - others.sum(dim=1)).clamp(min=0))


def among(weights: Tensor, members: Sequence[int]) -> Tensor:
    """Return the weights (M, M) among some scenarios only: what each has of the others (K, K) it gives to its own."""
    chosen = torch.tensor(members)
    inner = weights[chosen][:, chosen]
    return inner + torch.diag(1.0 - inner.sum(dim=1))


def mix(values: Tensor, weights: Tensor) -> Tensor:
    """Return each scenario's mixture ``u_k = sum_j xi_kj w_j`` of ``values`` (K, ...) with ``weights`` xi (K, K)."""
    return torch.einsum("kj,j...->k...", weights.to(values.dtype), values)
