"""The dual problem of conflict coordination for many scenarios, solved exactly on the scenarios that have a weight.

Most of many scenarios have no weight in the best mixture. Once those with one are known, their weights follow in closed
form from one factorization of their inner products.

Examples
--------
The third update points away from the mean least, so that it has no weight.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.active_set import minimise_on_support
>>> linear = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)  # (K,)
>>> gram = torch.diag(torch.tensor([1.0, 4.0, 1.0], dtype=torch.float64))  # (K, K)
>>> [round(weight, 3) for weight in minimise_on_support(linear, gram, radius=1.0).tolist()]
[0.8, 0.2, 0.0]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 50
"""Largest number of sets of scenarios that are tried."""
TOLERANCE = 1e-8
"""Largest error of the optimality conditions that a result may have."""
RIDGE = 1e-12
"""Relative addition to the diagonal of the inner products, with which repeated updates can be factorized."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Minimiser over the n scenarios of one set, if weights may be negative."""

    w: Tensor  # (n,), summing to one
    length: float  # its norm, which the slack is computed with
    level: float  # multiplier of sum(w) = 1
    optimal: bool  # whether `length` is the norm of `w`; otherwise it is that of the weights before


def minimise_on_support(linear: Tensor, gram: Tensor, radius: float) -> Tensor | None:
    """Minimise ``linear @ w + radius * sqrt(w @ gram @ w)`` over the simplex.

    This is a primal-dual active-set method. It starts with all scenarios whose update is not zero, minimises over the
    present set without the bounds ``w >= 0``, takes out the scenarios with a negative weight, takes in those that would
    improve the objective, and ends when the set stays. As a rule it needs five to twenty-five sets, and they shrink.

    Parameters
    ----------
    linear
        Linear coefficients (K,) float64.
    gram
        Gram matrix (K, K) float64, positive semidefinite, scaled to a mean diagonal near 1.
    radius
        Weight of the norm.

    Returns
    -------
    Tensor or None
        Minimiser (K,), no entry of which is negative, with a sum of one. None if the method fails: where the norm
        vanishes at the minimiser or has no weight, or where it finds no set within `STEPS`.

    References
    ----------
    Hintermüller, Ito and Kunisch, "The Primal-Dual Active Set Strategy as a Semismooth Newton Method", SIAM J. Optim.
    2002, for the sets. The closed form on a set, which frees the method from steps on the norm, is our construction.
    """
    inside = gram.diagonal() > 0  # an update of zero comes in only if nothing else agrees with the mean
    length = float(gram.mean().clamp(min=0).sqrt())  # of equal weights
    for _ in range(STEPS if radius > 0 and length > 0 else 0):
        members = inside.nonzero().flatten()
        found = _minimise_freely(linear[members], gram[members][:, members], radius, length)
        if found is None:
            return None
        w = torch.zeros_like(linear)
        w[members] = found.w
        image = gram[:, members] @ found.w
        slack = linear + radius * image / found.length + found.level
        wanted = torch.where(inside, w > 0, slack < -TOLERANCE)
        if found.optimal and torch.equal(wanted, inside):
            return w if float(slack[members].abs().max()) <= TOLERANCE else None
        length, inside = math.sqrt(max(0.0, float(w @ image))), wanted
        if not (length > 0 and inside.any()):
            return None
    return None


def _minimise_freely(linear: Tensor, gram: Tensor, radius: float, length: float) -> _Candidate | None:
    """Minimise over weights of sum one and any sign; None if the inner products are singular.

    Optimality, ``linear + radius / ||w|| * gram @ w + level = 0``, says that w is a multiple of
    ``along = -gram^-1 @ (linear + level)`` whose norm is `radius`: a quadratic equation for the level. It has no
    solution where the objective has no minimum. Then the norm is linearised at the ``length`` of the weights before.
    """
    ridged = gram.clone()
    ridged.diagonal().mul_(1.0 + RIDGE)
    factor, failed = torch.linalg.cholesky_ex(ridged)
    if failed:
        return None
    ones = torch.ones_like(linear)
    solved = torch.cholesky_solve(torch.stack([linear, ones], dim=1), factor)
    of_linear, of_ones = solved[:, 0], solved[:, 1]
    square, mixed = float(of_ones.sum()), float(of_linear.sum())
    discriminant = mixed**2 - square * (float(linear @ of_linear) - radius**2)
    optimal = discriminant > 0
    level = -(mixed + (math.sqrt(discriminant) if optimal else radius / length)) / square
    along = -(of_linear + level * of_ones)
    total = float(along.sum())
    return _Candidate(along / total, radius / total if optimal else length, level, optimal)
