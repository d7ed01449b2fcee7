"""Conflict coordination: for each expert, the update whose smallest agreement with a scenario's update is largest.

Examples
--------
The mean of these two updates sets the second scenario back, as their inner product is negative. The coordinated
update helps both.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.conflict import coordinate
>>> updates = torch.tensor([[[3.0, 0.0]], [[-1.0, 1.0]]])  # (K, E, P): two scenarios, one expert
>>> coordination = coordinate(updates, radius=0.5)
>>> [round(value, 2) for value in coordination.direction.flatten().tolist()]  # U
[0.48, 0.72]
>>> [round(float(update.flatten() @ updates.mean(dim=0).flatten()), 2) for update in updates]
[3.0, -0.5]
>>> [round(float(update.flatten() @ coordination.direction.flatten()), 2) for update in updates]
[1.45, 0.23]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.cosines import cosines_of, gram_matrices
from pfmsmtrec_flwr.aggregation.simplex import minimise_on_simplex


@dataclass(frozen=True, slots=True)
class Coordination:
    """Coordinated updates of all experts, with the weights and cosines behind them.

    Attributes
    ----------
    direction
        U, the coordinated update of each expert (E, P).
    weights
        w, the weight of each scenario in the dual problem of each expert (E, K).
    cosines
        Cosine between the updates of each pair of scenarios, for each expert (E, K, K); 0 where an update is zero.
    """

    direction: Tensor
    weights: Tensor
    cosines: Tensor


def coordinate(updates: Tensor, radius: float, centre: Tensor | None = None) -> Coordination:
    """Coordinate the scenarios' updates, all experts at once.

    For each expert, U maximises the smallest agreement ``min_s <update_s, U>`` subject to
    ``||U - mean|| <= radius * ||mean||``, and is divided by ``1 + radius^2``. The dual problem lies on the simplex and
    needs only the K x K Gram matrix: ``w = argmin <update_w, mean> + radius * ||mean|| * ||update_w||``,
    ``update_w = sum_s w_s update_s``; then
    ``U = (mean + radius * ||mean|| / ||update_w|| * update_w) / (1 + radius^2)``.

    Parameters
    ----------
    updates
        Change of each expert's parameters in each scenario (K, E, P).
    radius
        c, in [0, 1); at 0, U is the mean update.
    centre
        Another average of the updates (E, P), which takes the place of the mean (ours).

    References
    ----------
    CAGrad (Liu et al., NeurIPS 2021, section 3, equations 3 and 4) on gradients of tasks; FedHCA² (Lu et al.,
    CVPR 2024, section 3.2) on updates of clients.
    """
    gram = gram_matrices(updates)  # (E, K, K) float64
    scenarios = updates.shape[0]
    squares = gram.diagonal(dim1=1, dim2=2)  # (E, K)
    scale = squares.mean(dim=1)  # (E,)
    present = scale > 0
    cosines = cosines_of(gram)
    normal = gram.div_(torch.where(present, scale, torch.ones_like(scale))[:, None, None])
    if centre is None:
        to_mean = normal.mean(dim=2)  # <update_s, mean>, (E, K)
        mean_length = to_mean.mean(dim=1).clamp(min=0).sqrt()  # (E,)
    else:
        unscaled = torch.where(present, scale, torch.ones_like(scale))
        to_mean = torch.einsum("kep,ep->ek", updates.double(), centre.double()) / unscaled[:, None]
        mean_length = centre.double().norm(dim=1) / unscaled.sqrt()
    weights, unit = minimise_on_simplex(to_mean, normal, radius * mean_length)
    of_mean = 1.0 / scenarios if centre is None else 0.0
    mixture = (of_mean + (radius * mean_length)[:, None] * unit) / (1 + radius**2)  # (E, K)
    direction = torch.einsum("ek,kep->ep", mixture.to(updates.dtype), updates)
    if centre is not None:
        direction = direction + centre / (1 + radius**2)
    return Coordination(direction, weights, cosines)
