"""Conflict coordination: solves its constrained problem, in closed form where there is one, and never fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize
from torch import Tensor

from pfmsmtrec_flwr.aggregation.conflict import Coordination, coordinate

RADIUS = 0.4
SHRINK = 1 + RADIUS**2


def random_updates(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_expert(*updates: list[float]) -> Tensor:
    return torch.tensor(updates, dtype=torch.float64).unsqueeze(1)


def direction(updates: Tensor, radius: float = RADIUS) -> Tensor:
    return coordinate(updates, radius).direction


def gap_and_violation(updates: Tensor, radius: float, outcome: Coordination) -> tuple[float, float]:
    """Worst duality gap and worst excess over the ball, relative to the mean square of the updates."""
    gaps, excesses = [], []
    for expert in range(updates.shape[1]):
        each = updates[:, expert].double()
        mean = each.mean(dim=0)
        scale = max(float(each.square().sum(dim=1).mean()), 1e-300)
        free = outcome.direction[expert].double() * (1 + radius**2)
        mixed = outcome.weights[expert] @ each
        dual = mixed @ mean + radius * mean.norm() * mixed.norm()
        gaps.append(abs(float(dual - (each @ free).min())) / scale)
        excesses.append(float((free - mean).norm() - radius * mean.norm()) / math.sqrt(scale))
    return max(gaps), max(excesses)


def two_in_closed_form(first: Tensor, second: Tensor, radius: float) -> Tensor:
    """The best U for two updates in general position.

    In the ball around the mean m of radius r = c |m| either the point furthest along one update already agrees with
    that one least; or both agreements are equal, on the hyperplane through 0 normal to first - second, where either is
    <m, U>: its intersection with the ball is a ball around m's projection.
    """
    mean = (first + second) / 2
    reach = radius * mean.norm()
    for one, other in ((first, second), (second, first)):
        furthest = mean + reach * one / one.norm()
        if one @ furthest <= other @ furthest:
            return torch.as_tensor(furthest / (1 + radius**2))
    normal = (first - second) / (first - second).norm()
    height = normal @ mean
    centre = mean - height * normal
    return torch.as_tensor((centre + (reach**2 - height**2).sqrt() * centre / centre.norm()) / (1 + radius**2))


@pytest.mark.parametrize("radius", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("seed", range(8))
def test_two_scenarios_have_the_closed_form(radius: float, seed: int) -> None:
    updates = random_updates(2, 3, 5, seed=seed) * torch.tensor([1.0, 1.6], dtype=torch.float64)[:, None, None]
    expected = torch.stack([two_in_closed_form(updates[0, e], updates[1, e], radius) for e in range(3)])
    torch.testing.assert_close(direction(updates, radius), expected, atol=1e-6, rtol=1e-5)


def test_the_longer_update_yields_to_the_shorter() -> None:
    # m = (1, 1/2); the furthest point along (0, 1) agrees less with it than with (2, 0), so it is the best.
    expected = torch.tensor([[1.0, 0.5 + RADIUS * math.sqrt(1.25)]], dtype=torch.float64) / SHRINK
    outcome = coordinate(one_expert([2.0, 0.0], [0.0, 1.0]), RADIUS)
    torch.testing.assert_close(outcome.direction, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(outcome.weights, torch.tensor([[0.0, 1.0]], dtype=torch.float64), atol=1e-5, rtol=0)


def test_symmetric_updates_are_followed_along_their_mean() -> None:
    expected = torch.tensor([[0.5, 0.5]], dtype=torch.float64) * (1 + RADIUS) / SHRINK
    torch.testing.assert_close(direction(one_expert([1.0, 0.0], [0.0, 1.0])), expected, atol=1e-7, rtol=0)


def test_unequal_opposites_move_towards_the_overruled_one() -> None:
    # m = -1/2; U is shortest in its ball: -1/2 + 0.4 / 2.
    outcome = coordinate(one_expert([1.0, 0.0], [-2.0, 0.0]), RADIUS)
    torch.testing.assert_close(
        outcome.direction, torch.tensor([[-0.3 / SHRINK, 0.0]], dtype=torch.float64), atol=1e-7, rtol=0
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("radius", [0.1, 0.4, 0.8])
def test_weights_are_at_least_as_good_as_a_general_solvers(seed: int, radius: float) -> None:
    scenarios = 3 + seed % 4
    updates = random_updates(scenarios, 1, 6, seed=seed)
    each = updates[:, 0].numpy()
    mean = each.mean(axis=0)

    def dual(w: np.ndarray) -> float:
        mixed = w @ each
        return float(mixed @ mean + radius * np.linalg.norm(mean) * np.linalg.norm(mixed))

    starts = [np.full(scenarios, 1 / scenarios), *np.eye(scenarios)]
    best = min(
        minimize(
            dual,
            start,
            method="SLSQP",
            bounds=[(0, 1)] * scenarios,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-12, "maxiter": 500},
        ).fun
        for start in starts
    )
    outcome = coordinate(updates, radius)
    assert dual(outcome.weights[0].numpy()) == pytest.approx(best, abs=1e-6)
    gap, excess = gap_and_violation(updates, radius, outcome)
    assert gap < 1e-7
    assert excess < 1e-9


def test_no_drawn_point_of_the_ball_agrees_better() -> None:
    updates = random_updates(4, 1, 3, seed=5)
    each, mean = updates[:, 0], updates[:, 0].mean(dim=0)
    points = random_updates(200_000, 3, seed=6)
    ball = mean + RADIUS * mean.norm() * points / points.norm(dim=1, keepdim=True)
    drawn = (ball @ each.T).amin(dim=1).max()
    found = (each @ (direction(updates)[0] * SHRINK)).min()
    assert drawn - 1e-9 <= found <= drawn + 0.01


awkward = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6),
    elements=st.integers(-3, 3).map(float) | st.floats(-10, 10, allow_subnormal=False),
)


@settings(max_examples=120, deadline=None)
@given(awkward, st.sampled_from([0.0, 1e-3, 0.1, 0.4, 0.9, 0.99]))
def test_every_case_is_solved(array: np.ndarray, radius: float) -> None:
    updates = torch.from_numpy(array)
    outcome = coordinate(updates, radius)
    assert torch.isfinite(outcome.direction).all()
    assert (outcome.weights >= 0).all()
    torch.testing.assert_close(outcome.weights.sum(dim=1), torch.ones(array.shape[1], dtype=torch.float64))
    gap, excess = gap_and_violation(updates, radius, outcome)
    assert gap < 1e-6
    assert excess < 1e-7


@pytest.mark.parametrize("radius", [0.0, 0.4, 0.99])
def test_linearly_dependent_updates_have_a_solution(radius: float) -> None:
    # Two of them are parallel, so the best weights are not unique and a Newton matrix is singular.
    base = random_updates(4, 2, 30, seed=0)
    updates = torch.stack([base[0], -2 * base[0], base[1]])
    gap, excess = gap_and_violation(updates, radius, coordinate(updates, radius))
    assert gap < 1e-6
    assert excess < 1e-9


@pytest.mark.parametrize("factor", [1e-12, 1e-3, 1.0, 1e3, 1e12])
def test_scaling_the_updates_scales_the_direction(factor: float) -> None:
    updates = random_updates(5, 3, 20, seed=1)
    torch.testing.assert_close(direction(updates * factor), direction(updates) * factor, rtol=1e-6, atol=1e-7 * factor)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_the_scenarios_does_not_matter(order: list[int]) -> None:
    updates = random_updates(6, 2, 15, seed=2)
    plain, shuffled = coordinate(updates, RADIUS), coordinate(updates[order], RADIUS)
    torch.testing.assert_close(shuffled.direction, plain.direction, atol=1e-6, rtol=0)
    torch.testing.assert_close(shuffled.weights, plain.weights[:, order], atol=1e-5, rtol=0)
    torch.testing.assert_close(shuffled.cosines, plain.cosines[:, order][:, :, order])


def test_the_same_updates_give_the_same_bits() -> None:
    updates = random_updates(7, 3, 40, seed=3).float()
    first, second = coordinate(updates, RADIUS), coordinate(updates.clone(), RADIUS)
    assert torch.equal(first.direction, second.direction)
    assert torch.equal(first.weights, second.weights)


@pytest.mark.parametrize("scenarios", [1, 2, 5])
def test_equal_updates_are_followed(scenarios: int) -> None:
    common = random_updates(1, 2, 9, seed=4)
    expected = common[0] * (1 + RADIUS) / SHRINK
    torch.testing.assert_close(direction(common.repeat(scenarios, 1, 1)), expected, atol=1e-6, rtol=0)


def test_without_a_radius_it_is_the_mean() -> None:
    updates = random_updates(5, 3, 8, seed=7)
    torch.testing.assert_close(direction(updates, 0.0), updates.mean(dim=0), atol=1e-12, rtol=0)


def test_zero_updates_give_zero() -> None:
    outcome = coordinate(torch.zeros(3, 2, 4), RADIUS)
    assert torch.equal(outcome.direction, torch.zeros(2, 4))
    assert torch.equal(outcome.cosines, torch.zeros(2, 3, 3, dtype=torch.float64))
    assert torch.isfinite(outcome.weights).all()


@pytest.mark.parametrize("radius", [0.0, 0.4, 0.99])
def test_exact_opposites_cancel(radius: float) -> None:
    update = random_updates(1, 2, 6, seed=8)
    torch.testing.assert_close(
        direction(torch.cat([update, -update]), radius), torch.zeros(2, 6, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_a_scenario_that_did_not_move_harms_nobody() -> None:
    updates = torch.cat([random_updates(3, 1, 10, seed=9), torch.zeros(1, 1, 10, dtype=torch.float64)])
    outcome = coordinate(updates, RADIUS)
    gap, excess = gap_and_violation(updates, RADIUS, outcome)
    assert gap < 1e-8
    assert excess < 1e-9
    assert torch.equal(outcome.cosines[0, 3], torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(40, 2, 3), (40, 2, 1), (150, 1, 20)])
def test_more_scenarios_than_parameters(shape: tuple[int, int, int]) -> None:
    updates = random_updates(*shape, seed=10)
    gap, excess = gap_and_violation(updates, RADIUS, coordinate(updates, RADIUS))
    assert gap < 1e-7
    assert excess < 1e-9


def test_widely_different_scales() -> None:
    sizes = torch.tensor([1e-3, 1e-1, 10.0, 1e3], dtype=torch.float64)[:, None, None]
    updates = random_updates(4, 3, 12, seed=11) * sizes
    gap, excess = gap_and_violation(updates, RADIUS, coordinate(updates, RADIUS))
    assert gap < 1e-6
    assert excess < 1e-9


def test_experts_are_independent_of_each_other() -> None:
    updates = torch.cat([random_updates(5, 3, 8, seed=12), torch.zeros(5, 1, 8, dtype=torch.float64)], dim=1)
    updates[:, 1] *= 1e-9
    together = coordinate(updates, RADIUS)
    for expert in range(4):
        alone = coordinate(updates[:, expert : expert + 1], RADIUS)
        size = float(updates[:, expert].abs().max())
        torch.testing.assert_close(together.direction[expert], alone.direction[0], atol=1e-6 * size, rtol=0)
        torch.testing.assert_close(together.cosines[expert], alone.cosines[0])


def test_single_precision_stays_single_precision() -> None:
    updates = random_updates(4, 2, 50, seed=13)
    outcome = coordinate(updates.float(), RADIUS)
    assert outcome.direction.dtype == torch.float32
    torch.testing.assert_close(outcome.direction.double(), direction(updates), atol=1e-5, rtol=0)


def test_cosines_by_hand() -> None:
    outcome = coordinate(one_expert([3.0, 0.0], [1.0, 1.0], [0.0, -2.0]), RADIUS)
    half = math.sqrt(0.5)
    expected = torch.tensor([[1.0, half, 0.0], [half, 1.0, -half], [0.0, -half, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(outcome.cosines[0], expected)


@pytest.mark.parametrize("radius", [0.0, RADIUS])
def test_another_centre_takes_the_place_of_the_mean(radius: float) -> None:
    updates = random_updates(4, 3, 12, seed=14)
    mean = updates.mean(dim=0)
    around = coordinate(updates, radius, mean)
    torch.testing.assert_close(around.direction, direction(updates, radius), atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(around.weights, coordinate(updates, radius).weights, atol=1e-6, rtol=0)
    centre = mean + 0.5 * random_updates(1, 3, 12, seed=15)[0]
    moved = coordinate(updates, radius, centre).direction
    distance = ((1 + radius**2) * moved - centre).norm(dim=1)
    assert bool((distance <= radius * centre.norm(dim=1) * (1 + 1e-9)).all())
    if radius:  # the worst-off scenario is no worse off than at the centre
        worst = torch.einsum("kep,ep->ke", updates, (1 + radius**2) * moved).amin(dim=0)
        assert bool((worst >= torch.einsum("kep,ep->ke", updates, centre).amin(dim=0) - 1e-9).all())
