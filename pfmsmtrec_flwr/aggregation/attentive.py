"""Attentive message passing: each scenario receives a mixture of all models that favours those close to its own.

Examples
--------
Models a and b are close to each other, c is far from both: c keeps its own model, a and b mix.
No scenario has less than 0.6 of its own model.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.attentive import attention, mix, squared_distances
>>> models = torch.tensor([[0.0], [1.0], [10.0]])  # (K, P)
>>> weights = attention(squared_distances(models), self_weight=0.6, width=0.1)
>>> [[round(weight, 2) for weight in row] for row in weights.tolist()]
[[0.6, 0.4, 0.0], [0.4, 0.6, 0.0], [0.0, 0.0, 1.0]]
>>> [round(value, 2) for value in mix(models, weights).flatten().tolist()]
[0.4, 0.6, 10.0]
"""

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


def attention(distances: Tensor, self_weight: float, width: float) -> Tensor:
    """Return the weight of each model in each scenario's mixture.

    ``xi_kj = alpha * A'(d_kj)`` for j ≠ k and ``xi_kk = 1 - sum_j xi_kj``, with
    ``A(d) = 1 - exp(-d / sigma)``, so that the mixtures are one step of gradient descent on the sum of A over all
    pairs. The paper asks for a small α and leaves its size open. Here α is the longest step that leaves each scenario
    ``self_weight`` of its own model (our choice): the scenario with the nearest others has just that, any other has
    more. Distances are divided by their mean over pairs (our choice), so that σ does not depend on the size of the
    model.

    Parameters
    ----------
    distances
        Squared distances between the models (K, K).
    self_weight
        Smallest weight of a scenario's own model, in (0, 1].
    width
        σ, in units of the mean squared distance.

    Returns
    -------
    Tensor
        Weights xi (K, K), symmetric; no entry is negative, each row sums to one, and no entry of the diagonal is below
        ``self_weight``.

    References
    ----------
    FedAMP (Huang et al., AAAI 2021, algorithm 1). Its variant for deep networks, HeurFedAMP, has the weight of the own
    model for a setting too, there the same for all.
    """
    scenarios = len(distances)
    mean = distances.sum() / max(1, scenarios * (scenarios - 1))
    relative = distances / torch.where(mean > 0, mean, 1.0)
    slope = (torch.exp(-relative / width) / width).fill_diagonal_(0.0)  # A'
    most = slope.sum(dim=1).max()
    others = slope * torch.where(most > 0, (1.0 - self_weight) / most, 0.0)
    return others + torch.diag(1.0 - others.sum(dim=1))


def among(weights: Tensor, members: Sequence[int]) -> Tensor:
    """Restrict weights (K, K) to M members, (M, M): the weights of other scenarios go to each member's own model."""
    chosen = torch.tensor(members)
    inner = weights[chosen][:, chosen]
    return inner + torch.diag(1.0 - inner.sum(dim=1))


def mix(values: Tensor, weights: Tensor) -> Tensor:
    """Return each scenario's mixture ``u_k = sum_j xi_kj w_j`` of ``values`` (K, ...) with ``weights`` xi (K, K)."""
    return torch.einsum("kj,j...->k...", weights.to(values.dtype), values)
