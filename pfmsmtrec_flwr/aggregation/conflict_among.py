"""Conflict coordination for each scenario by itself, among those that it agrees with.

Examples
--------
The first two scenarios agree, the third with nobody: it keeps its own update, and the others are not held back by it.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.conflict_among import coordinate_among
>>> updates = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]], [[-1.0, 0.0]]])  # (K, E, P): three scenarios, one expert
>>> agreement = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
>>> weights = agreement / agreement.sum(dim=1, keepdim=True)
>>> directions = coordinate_among(updates, agreement, weights, radius=0.0)
>>> directions.flatten(1).tolist()  # U of each scenario
[[1.0, 0.5], [1.0, 0.5], [-1.0, 0.0]]
"""

from __future__ import annotations

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.cosines import gram_matrices
from pfmsmtrec_flwr.aggregation.simplex import minimise_on_simplex


def coordinate_among(updates: Tensor, agreement: Tensor, weights: Tensor, radius: float) -> Tensor:
    """Coordinate the updates for each scenario by itself, among those that it agrees with.

    Scenario s sees the update of scenario j as far as it agrees with j,
    ``v_sj = a_sj update_j + (1 - a_sj) update_s``: wholly at an agreement of 1, as its own at 0, which adds no further
    wish. With ``mean_s = sum_j weights_sj update_j``, ``U_s`` maximises the smallest product ``min_j <v_sj, U>``
    subject to ``||U - mean_s|| <= radius * ||mean_s||``, and is divided by ``1 + radius^2``. Where all agree and weigh
    alike, each U_s is the U of `pfmsmtrec_flwr.aggregation.conflict.coordinate` (our construction).

    Parameters
    ----------
    updates
        Change of each expert's parameters in each scenario (K, E, P).
    agreement
        Agreement of each pair of scenarios in [0, 1] (K, K), with ones on the diagonal.
    weights
        Weights of all scenarios in each scenario's mean update (K, K), rows summing to one; see
        `pfmsmtrec_flwr.aggregation.consensus.consensus_weights`.
    radius
        c, in [0, 1); at 0, U_s is the mean update of s.

    Returns
    -------
    Tensor
        U_s of each scenario and expert (K, E, P). All K E problems are solved at once, which takes memory for some
        E K^3 numbers.

    References
    ----------
    CAGrad (Liu et al., NeurIPS 2021, section 3) for each scenario's problem.
    """
    gram = gram_matrices(updates)  # (E, K, K) float64
    experts, scenarios = gram.shape[:2]
    own = torch.eye(scenarios, dtype=torch.float64)
    views = torch.diag_embed(agreement) + (1 - agreement).unsqueeze(2) * own.unsqueeze(1)  # v_s = views[s] @ updates
    seen = torch.einsum("sij,ejk,slk->seil", views, gram, views)  # <v_si, v_sl>, (K, E, K, K)
    scale = seen.diagonal(dim1=2, dim2=3).mean(dim=2)  # (K, E)
    inverse = torch.where(scale > 0, 1.0 / scale, 1.0)
    to_mean = torch.einsum("sij,ejk,sk->sei", views, gram, weights) * inverse.unsqueeze(2)
    mean_length = (torch.einsum("sj,ejk,sk->se", weights, gram, weights) * inverse).clamp(min=0).sqrt()
    _, unit = minimise_on_simplex(
        to_mean.flatten(0, 1), (seen * inverse[..., None, None]).flatten(0, 1), radius * mean_length.flatten()
    )
    along = torch.einsum("sei,sij->sej", unit.view(scenarios, experts, scenarios), views)
    mixture = (weights.unsqueeze(1) + radius * mean_length.unsqueeze(2) * along) / (1 + radius**2)  # (K, E, K)
    return torch.einsum("sej,jep->sep", mixture.to(updates.dtype), updates)
