"""The dual problem of conflict coordination: a linear term plus a norm on the simplex, for many problems at once.

Examples
--------
Without the norm the smallest linear coefficient takes all the weight; the norm alone is smallest in the middle.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.simplex import minimise_on_simplex
>>> linear = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)  # (E, K)
>>> gram = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)  # (E, K, K)
>>> weights, _ = minimise_on_simplex(linear, gram, radius=torch.tensor([0.0, 1.0], dtype=torch.float64))
>>> [[round(weight, 3) for weight in row] for row in weights.tolist()]
[[0.0, 1.0], [0.5, 0.5]]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.active_set import minimise_on_support

MANY = 64
"""Number of scenarios beyond which those with a weight are looked for first."""
SMOOTHING = 1e-6
"""Final smoothing of the norm at its kink."""
ITERATIONS = 100
"""Largest number of Newton steps."""
TOLERANCE = 1e-8
"""Largest error of the optimality conditions at the end."""
CENTERING = 0.1
"""Target of the duality gap after a step, relative to the gap before it."""
INTERIOR = 0.99
"""Share of the way to the boundary that a step may go."""
RIDGE = 1e-12
"""Addition to the unit diagonal of each scaled system."""
TINY = 1e-300
"""Smallest divisor."""


@dataclass(frozen=True, slots=True)
class _Problem:
    """E problems: minimise ``linear @ w + radius * ||w||`` over the simplex, with the norm that ``gram`` defines."""

    linear: Tensor  # (E, K)
    gram: Tensor  # (E, K, K)
    radius: Tensor  # (E, 1)

    def times(self, vector: Tensor) -> Tensor:
        """Return ``gram @ vector`` (E, K)."""
        return torch.bmm(self.gram, vector.unsqueeze(2)).squeeze(2)


@dataclass(frozen=True, slots=True)
class _Point:
    """Variables of the iteration: all are (E, K), except ``level`` (E, 1)."""

    w: Tensor
    slack: Tensor  # multipliers of w >= 0
    level: Tensor  # multiplier of sum(w) = 1
    unit: Tensor  # w / ||w|| as a variable of its own: any vector of norm up to 1 where w vanishes

    @property
    def gap(self) -> Tensor:
        return (self.w * self.slack).sum(dim=1, keepdim=True)


def minimise_on_simplex(linear: Tensor, gram: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise ``linear @ w + radius * sqrt(w @ gram @ w)`` over the simplex, E problems at once.

    Beyond `MANY` scenarios `minimise_on_support` solves each problem that it can; `interior_point` solves the others.

    Parameters
    ----------
    linear
        Linear coefficients (E, K) float64.
    gram
        Gram matrices (E, K, K) float64, positive semidefinite, scaled to a mean diagonal near 1 (or zero).
    radius
        Weights of the norm (E,) float64, not negative.

    Returns
    -------
    w
        Minimiser (E, K); no entry is negative, and each row sums to one.
    unit
        Coefficients (E, K) of the direction of the weighted update, with a norm of at most 1 under ``gram``. They are
        ``w`` divided by its norm wherever that is not zero.
    """
    solved: dict[int, Tensor] = {}
    if linear.shape[1] > MANY:
        found = (minimise_on_support(*each) for each in zip(linear, gram, radius.tolist(), strict=True))
        solved = {place: w for place, w in enumerate(found) if w is not None}
    if not solved:
        return interior_point(linear, gram, radius)
    weights, units = torch.empty_like(linear), torch.empty_like(linear)
    if left := [place for place in range(len(linear)) if place not in solved]:
        weights[left], units[left] = interior_point(linear[left], gram[left], radius[left])
    for place, w in solved.items():
        weights[place], units[place] = w, w / (w @ gram[place] @ w).sqrt()
    return weights, units


def interior_point(linear: Tensor, gram: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise as `minimise_on_simplex` does, whose arguments and results these are, by an interior-point method.

    This is a primal-dual method. The norm has a kink where the weighted update vanishes, and strong conflicts lead
    right there. The direction ``w / ||w||`` is therefore a variable of its own, and its defining equation
    ``unit * ||w|| = w`` is linearised together with the conditions of optimality. About fifteen linear systems reach a
    duality gap near 1e-8.

    References
    ----------
    The linearisation follows Chan, Golub and Mulet, "A Nonlinear Primal-Dual Method for Total Variation-Based Image
    Restoration", SIAM J. Sci. Comput. 1999, section 3.
    """
    size = linear.shape[1]
    problem = _Problem(linear, gram, radius.unsqueeze(1))
    level = linear.abs().amax(dim=1, keepdim=True) - linear.amin(dim=1, keepdim=True) + 1e-3
    w = torch.full_like(linear, 1.0 / size)
    point = _Point(w, linear + level, level, torch.zeros_like(linear))
    smoothing = 1.0
    for _ in range(ITERATIONS):
        if smoothing <= SMOOTHING and _converged(problem, point, smoothing):
            break
        point = _advance(problem, point, smoothing)
        smoothing = max(SMOOTHING, 0.3 * smoothing)
    norm = (point.unit * problem.times(point.unit)).sum(dim=1, keepdim=True).clamp(min=0).sqrt()
    return point.w / point.w.sum(dim=1, keepdim=True), point.unit / norm.clamp(min=1.0)


def _converged(problem: _Problem, point: _Point, smoothing: float) -> bool:
    image, length = _image(problem, point.w, smoothing)
    turned = problem.times(point.unit)
    stationary = problem.linear + problem.radius * turned + point.level - point.slack
    aligned = problem.radius * (image - length * turned)
    return max(float(error.abs().max()) for error in (stationary, aligned, point.gap)) <= TOLERANCE


def _image(problem: _Problem, w: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return ``gram @ w`` (E, K) and the smoothed norm of ``w`` (E, 1)."""
    image = problem.times(w)
    return image, ((w * image).sum(dim=1, keepdim=True) + smoothing**2).sqrt()


def _advance(problem: _Problem, point: _Point, smoothing: float) -> _Point:
    """Take a Newton step on the linearised conditions, shortened to stay in the interior."""
    w, slack, level, unit = point.w, point.slack, point.level, point.unit
    image, length = _image(problem, w, smoothing)
    target = CENTERING * point.gap / w.shape[1]
    outer = problem.times(unit).unsqueeze(2) * image.unsqueeze(1)
    curvature = (outer + outer.transpose(1, 2)) / (2 * length.unsqueeze(2))
    hessian = (problem.radius / length).unsqueeze(2) * (problem.gram - curvature)
    toward = target / w - (problem.linear + problem.radius * image / length + level)
    solved = _solve(hessian + torch.diag_embed(slack / w), torch.stack([toward, torch.ones_like(w)], dim=2))
    level_step = solved[..., 0].sum(dim=1, keepdim=True) / solved[..., 1].sum(dim=1, keepdim=True)
    w_step = solved[..., 0] - level_step * solved[..., 1]
    slack_step = (target - slack * w_step) / w - slack
    growth = (image * w_step).sum(dim=1, keepdim=True) / length
    unit_step = (w + w_step - unit * growth) / length - unit
    step = torch.minimum(_longest_positive(w, w_step), _longest_positive(slack, slack_step))
    return replace(
        point,
        w=w + step * w_step,
        slack=slack + step * slack_step,
        level=level + step * level_step,
        unit=unit + _longest_in_ball(problem, unit, unit_step) * unit_step,
    )


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve symmetric systems whose diagonals are first scaled to one, which keeps them well conditioned at the edges.

    Where updates depend on each other linearly, the best weights are not unique and the matrix is singular up to
    rounding. The ridge then selects one Newton step; the iteration checks its conditions like those of any other.
    """
    scale = matrix.diagonal(dim1=1, dim2=2).clamp(min=TINY).rsqrt().unsqueeze(2)
    scaled = matrix * scale * scale.transpose(1, 2)
    scaled.diagonal(dim1=1, dim2=2).add_(RIDGE)
    solved: Tensor = torch.linalg.solve(scaled, right * scale)
    return solved * scale


def _longest_positive(value: Tensor, step: Tensor) -> Tensor:
    """Return the longest step, up to 1, that keeps ``value`` positive, (E, 1)."""
    ratio = torch.where(step < 0, -value / step, torch.inf)
    return (INTERIOR * ratio.amin(dim=1, keepdim=True)).clamp(max=1.0)


def _longest_in_ball(problem: _Problem, unit: Tensor, step: Tensor) -> Tensor:
    """Return the longest step, up to 1, that keeps the norm of ``unit`` at most 1, (E, 1)."""
    image = problem.times(step)
    square = (step * image).sum(dim=1, keepdim=True)
    along = (unit * image).sum(dim=1, keepdim=True)
    room = 1.0 - (unit * problem.times(unit)).sum(dim=1, keepdim=True)
    longest = ((along.square() + square * room.clamp(min=0)).sqrt() - along) / square.clamp(min=TINY)
    return torch.where(square > 0, INTERIOR * longest, 1.0).clamp(max=1.0)
