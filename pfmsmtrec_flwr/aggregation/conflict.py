"""Conflict coordination: one update per expert that no scenario's update disagrees with more than it must."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.simplex import minimise_on_simplex


@dataclass(frozen=True, slots=True)
class Coordination:
    """Outcome of a coordination.

    Attributes
    ----------
    direction
        U, the coordinated update of each expert (E, P).
    weights
        w, how much each scenario decides about each expert (E, K).
    cosines
        Cosine between the updates of each pair of scenarios, per expert (E, K, K); 0 where an update is zero.
    """

    direction: Tensor
    weights: Tensor
    cosines: Tensor


def coordinate(updates: Tensor, radius: float) -> Coordination:
    """Coordinate the scenarios' updates, all experts at once.

    For each expert: the U that maximises the smallest agreement ``min_s <update_s, U>`` subject to
    ``||U - mean|| <= radius * ||mean||``, divided by ``1 + radius^2``. Its dual lives on the simplex and
    needs the K x K Gram matrix alone: ``w = argmin <update_w, mean> + radius * ||mean|| * ||update_w||``,
    ``update_w = sum_s w_s update_s``; then
    ``U = (mean + radius * ||mean|| / ||update_w|| * update_w) / (1 + radius^2)``.

    Parameters
    ----------
    updates
        What each scenario changed in each expert, (K, E, P).
    radius
        c, in [0, 1); at 0 U is the mean update.

    References
    ----------
    CAGrad (Liu et al., NeurIPS 2021, section 3, equations 3 and 4) on gradients of tasks; FedHCA² (Lu et al.,
    CVPR 2024, section 3.2) on updates of clients.
    """
    gram = _gram(updates)  # (E, K, K) float64
    scenarios = updates.shape[0]
    squares = gram.diagonal(dim1=1, dim2=2)  # (E, K)
    scale = squares.mean(dim=1)  # (E,)
    present = scale > 0
    normal = gram / torch.where(present, scale, torch.ones_like(scale))[:, None, None]
    to_mean = normal.mean(dim=2)  # <update_s, mean>, (E, K)
    mean_length = to_mean.mean(dim=1).clamp(min=0).sqrt()  # (E,)
    weights, unit = minimise_on_simplex(to_mean, normal, radius * mean_length)
    mixture = (1.0 / scenarios + (radius * mean_length)[:, None] * unit) / (1 + radius**2)  # (E, K)
    direction = torch.einsum("ek,kep->ep", mixture.to(updates.dtype), updates)
    lengths = squares.clamp(min=0).sqrt()
    products = lengths[:, :, None] * lengths[:, None, :]
    cosines = torch.where(products > 0, gram / products.clamp(min=torch.finfo(gram.dtype).tiny), torch.zeros_like(gram))
    return Coordination(direction, weights, cosines)


def _gram(updates: Tensor) -> Tensor:
    """Inner products of the updates of each expert, (E, K, K), in double precision, one expert's copy at a time."""
    experts = updates.shape[1]
    gram = updates.new_empty((experts, updates.shape[0], updates.shape[0]), dtype=torch.float64)
    for expert in range(experts):
        flat = updates[:, expert].double()
        gram[expert] = flat @ flat.T
    return gram
