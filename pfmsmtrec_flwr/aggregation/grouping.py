"""Dynamic grouping: each scenario averages with those whose models deviate from the mean in similar directions.

Examples
--------
Models a and b lie on the same side of the mean, c on the other: a and b share, c keeps its own model.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.grouping import group_weights, weights_among
>>> weights = group_weights(torch.tensor([[0.0, 0.0], [1.0, 0.0], [11.0, 0.0]]), threshold=0.0)  # (K, P)
>>> weights.tolist()
[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
>>> weights_among(weights, [1, 2]).tolist()  # for a parameter that a lacks
[[1.0, 0.0], [0.0, 1.0]]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def group_weights(models: Tensor, threshold: float) -> Tensor:
    """Return the weight of each scenario's model in each scenario's average.

    ``w_kj = max(0, cos(d_k, d_j) + threshold) / sum_i max(0, cos(d_k, d_i) + threshold)`` with the deviation
    ``d_k = theta_k - mean theta``. A model without a deviation has a cosine of 0 with the others and of 1 with itself.

    Parameters
    ----------
    models
        Models of the scenarios (K, P).
    threshold
        Added to the cosines: at 0, scenarios whose deviations are opposed or orthogonal share nothing; at 1, only
        exactly opposed ones do.

    Returns
    -------
    Tensor
        Weights (K, K) float64; no entry is negative, and each row sums to one.

    References
    ----------
    MaT-FL (Cai et al., CVPR Workshops 2023); the rule is that of ``soft-grouping`` in the authors' code
    (github.com/VITA-Group/MaT-FL, ``dg_utils.py``).
    """
    double = models.double()
    unit = torch.nn.functional.normalize(double - double.mean(dim=0), dim=1)
    scores = ((unit @ unit.T).fill_diagonal_(1.0) + threshold).clamp(min=0.0)
    return scores / scores.sum(dim=1, keepdim=True)


def weights_among(weights: Tensor, members: Sequence[int]) -> Tensor:
    """Restrict weights (K, K) to M members, (M, M): each row again sums to one."""
    chosen = torch.tensor(members)
    inner = weights[chosen][:, chosen]
    return inner / inner.sum(dim=1, keepdim=True)
