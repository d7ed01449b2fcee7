"""The minimiser for many scenarios: optimal by the conditions of optimality, and no worse than the interior point."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.active_set import minimise_on_support
from pfmsmtrec_flwr.aggregation.conflict import coordinate
from pfmsmtrec_flwr.aggregation.simplex import MANY, interior_point, minimise_on_simplex

RADIUS = 0.4
KINDS = ("one aim", "unequal lengths", "two camps", "noise", "twenty aims", "dependent", "repeated", "with a zero")


@dataclass(frozen=True)
class Problem:
    """The dual problem of one expert."""

    linear: Tensor  # (K,)
    gram: Tensor  # (K, K)
    radius: float

    @classmethod
    def of(cls, updates: Tensor) -> Problem:
        """Return the problem that `coordinate` makes of updates (K, P)."""
        gram = updates @ updates.T
        gram = gram / gram.diagonal().mean()
        linear = gram.mean(dim=1)
        return cls(linear, gram, RADIUS * float(linear.mean().sqrt()))

    def objective(self, w: Tensor) -> float:
        return float(self.linear @ w + self.radius * (w @ self.gram @ w).sqrt())

    def errors(self, w: Tensor) -> tuple[float, float]:
        """Largest error of the conditions of optimality: of the slope where w has weight, and of its sign elsewhere."""
        slope = self.linear + self.radius * (self.gram @ w) / (w @ self.gram @ w).sqrt()
        level = slope @ w  # the mean slope, which all scenarios with a weight share
        return float((slope - level)[w > 0].abs().max()), float((level - slope).clamp(min=0).max())


def updates_of(kind: str, scenarios: int, seed: int = 0, parameters: int = 1500) -> Tensor:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    noise, aim = draw(scenarios, parameters), draw(parameters)
    if kind == "unequal lengths":
        return (noise + 0.3 * aim) * draw(scenarios, 1).exp()
    if kind == "two camps":
        return noise + torch.where(torch.arange(scenarios) < scenarios // 3, -1.0, 1.0)[:, None] * aim
    if kind == "noise":
        return noise
    if kind == "twenty aims":
        return 0.3 * noise + draw(scenarios, 20) @ draw(20, parameters)
    if kind == "dependent":  # more scenarios than parameters
        return (noise + 0.3 * aim)[:, : scenarios // 4]
    if kind == "repeated":
        noise[1::2] = noise[: -1 if scenarios % 2 else None : 2][: len(noise[1::2])]
    if kind == "with a zero":
        noise[3] = -0.3 * aim
    return noise + 0.3 * aim


@pytest.mark.parametrize("scenarios", [MANY + 1, 300])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "with a zero"])
def test_the_conditions_of_optimality_hold(kind: str, scenarios: int) -> None:
    problem = Problem.of(updates_of(kind, scenarios))
    w = minimise_on_support(problem.linear, problem.gram, problem.radius)
    assert w is not None
    assert float(w.min()) >= 0
    assert float(w.sum()) == pytest.approx(1.0, abs=1e-12)
    slope, sign = problem.errors(w)
    assert max(slope, sign) < 2e-8
    inner, _ = interior_point(
        problem.linear[None], problem.gram[None], torch.tensor([problem.radius], dtype=torch.float64)
    )
    assert problem.objective(w) <= problem.objective(inner[0]) + 1e-12


@pytest.mark.slow
def test_two_thousand_scenarios() -> None:
    problem = Problem.of(updates_of("one aim", 2000, parameters=3000))
    w = minimise_on_support(problem.linear, problem.gram, problem.radius)
    assert w is not None
    assert max(problem.errors(w)) < 2e-8


@pytest.mark.parametrize("kind", KINDS)
def test_no_direction_of_the_ball_agrees_more(kind: str) -> None:
    """The smallest agreement of the direction equals the dual objective, which bounds that of any other direction."""
    updates = updates_of(kind, 120)
    outcome = coordinate(updates[:, None], RADIUS)
    free, mean = outcome.direction[0] * (1 + RADIUS**2), updates.mean(dim=0)
    mixed = outcome.weights[0] @ updates
    bound = mixed @ mean + RADIUS * mean.norm() * mixed.norm()
    scale = updates.square().sum(dim=1).mean()
    assert abs(float(bound - (updates @ free).min())) / float(scale) < 1e-7
    assert float((free - mean).norm()) <= RADIUS * float(mean.norm()) * (1 + 1e-6)


def test_where_the_norm_has_no_weight_or_vanishes_the_interior_point_solves() -> None:
    generator = torch.Generator().manual_seed(0)
    gram = torch.eye(MANY + 2, dtype=torch.float64)
    linear = torch.rand(MANY + 2, generator=generator, dtype=torch.float64)
    opposite = gram.clone()
    opposite[0, 1] = opposite[1, 0] = -1.0
    assert minimise_on_support(linear, gram, 0.0) is None
    assert minimise_on_support(0 * linear, opposite, 1.0) is None
    radius = torch.tensor([0.0, 1.0, 0.1], dtype=torch.float64)
    w, unit = minimise_on_simplex(
        torch.stack([linear, 0 * linear, linear]), torch.stack([gram, opposite, gram]), radius
    )
    assert w[0].argmax() == linear.argmin()
    torch.testing.assert_close(w[1, :2], torch.full((2,), 0.5, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(w[2].norm() * unit[2], w[2])  # the one of the three that the sets solve
    assert torch.isfinite(unit).all()
