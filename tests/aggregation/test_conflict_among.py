"""Conflict coordination for each scenario among those that it agrees with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from pfmsmtrec_flwr.aggregation.conflict import coordinate
from pfmsmtrec_flwr.aggregation.conflict_among import coordinate_among
from pfmsmtrec_flwr.aggregation.consensus import consensus_weights

RADIUS = 0.4
SHRINK = 1 + RADIUS**2


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn_agreement(scenarios: int, seed: int = 0) -> Tensor:
    half = torch.rand(scenarios, scenarios, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).triu(1)
    return half + half.T + torch.eye(scenarios, dtype=torch.float64)


def alike(agreement: Tensor) -> Tensor:
    """Weights of the consensus where every scenario has as many examples."""
    return consensus_weights(torch.full((len(agreement),), 1.0 / len(agreement), dtype=torch.float64), agreement)


def among(updates: Tensor, agreement: Tensor, radius: float = RADIUS) -> Tensor:
    return coordinate_among(updates, agreement, alike(agreement), radius)


@pytest.mark.parametrize("scenarios", [1, 2, 5])
def test_where_all_agree_each_has_the_common_direction(scenarios: int) -> None:
    updates = drawn(scenarios, 3, 20)
    expected = coordinate(updates, RADIUS).direction.expand_as(updates)
    torch.testing.assert_close(among(updates, torch.ones(scenarios, scenarios).double()), expected, atol=1e-6, rtol=0)


def test_where_nobody_agrees_each_has_its_own_update() -> None:
    updates = drawn(4, 2, 9, seed=1)
    own = updates * (1 + RADIUS) / SHRINK
    torch.testing.assert_close(among(updates, torch.eye(4).double()), own, atol=1e-6, rtol=0)


def test_camps_coordinate_by_themselves() -> None:
    updates = drawn(5, 2, 30, seed=2)
    agreement = torch.zeros(5, 5, dtype=torch.float64)
    agreement[:2, :2], agreement[2:, 2:] = 1.0, 1.0
    found = among(updates, agreement)
    for camp in (slice(0, 2), slice(2, 5)):
        expected = coordinate(updates[camp], RADIUS).direction
        torch.testing.assert_close(found[camp], expected.expand_as(found[camp]), atol=1e-6, rtol=0)


def test_two_by_hand() -> None:
    # s = (1, 0) sees (0, 1) at an agreement of 0.5 as (0.5, 0.5); its mean is (2, 1) / 3 by weights 1 : 0.5.
    updates = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=torch.float64)
    found = among(updates, torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64))
    # <(1, 0), U> >= <(0.5, 0.5), U> wherever U leans to its first axis. So the furthest point along (1, 1) is the best:
    # (2, 1) / 3 + 0.4 * sqrt(5) / 3 * (1, 1) / sqrt(2), which leans so.
    step = RADIUS * math.sqrt(5) / 3 / math.sqrt(2)
    expected = torch.tensor([2 / 3 + step, 1 / 3 + step], dtype=torch.float64) / SHRINK
    torch.testing.assert_close(found[0, 0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1, 0], expected.flip(0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("radius", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_each_direction_solves_its_problem(seed: int, radius: float) -> None:
    scenarios = 3 + seed % 3
    updates, agreement = drawn(scenarios, 2, 6, seed=seed), drawn_agreement(scenarios, seed)
    weights = alike(agreement)
    found = among(updates, agreement, radius) * (1 + radius**2)
    for scenario in range(scenarios):
        for expert in range(2):
            each = updates[:, expert]
            share = agreement[scenario][:, None]
            views = (share * each + (1 - share) * each[scenario]).numpy()
            mean = (weights[scenario] @ each).numpy()
            reach = float(radius * np.linalg.norm(mean))

            def dual(w: np.ndarray, views: np.ndarray = views, mean: np.ndarray = mean, reach: float = reach) -> float:
                return float(w @ views @ mean + reach * np.linalg.norm(w @ views))

            best = min(
                minimize(
                    dual,
                    start,
                    method="SLSQP",
                    bounds=[(0, 1)] * scenarios,
                    constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
                    options={"ftol": 1e-12, "maxiter": 500},
                ).fun
                for start in (np.full(scenarios, 1 / scenarios), *np.eye(scenarios))
            )
            own = found[scenario, expert].numpy()
            assert np.linalg.norm(own - mean) <= reach * (1 + 1e-9)
            assert (views @ own).min() == pytest.approx(best, abs=1e-6)  # no duality gap


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10**6), st.sampled_from([1e-9, 1.0, 1e9]))
def test_neither_order_nor_scale_matter(scenarios: int, seed: int, scale: float) -> None:
    updates, agreement = drawn(scenarios, 2, 8, seed=seed), drawn_agreement(scenarios, seed)
    order = torch.randperm(scenarios, generator=torch.Generator().manual_seed(seed))
    plain = among(updates, agreement)
    turned = among(scale * updates[order], agreement[order][:, order])
    torch.testing.assert_close(turned / scale, plain[order], atol=1e-5, rtol=0)


def test_without_a_radius_it_is_the_mean_of_those_that_agree() -> None:
    updates, agreement = drawn(4, 2, 8, seed=3), drawn_agreement(4)
    expected = torch.einsum("sj,jep->sep", alike(agreement), updates)
    torch.testing.assert_close(among(updates, agreement, 0.0), expected, atol=1e-12, rtol=0)


def test_updates_of_zero_and_opposites_stay_finite() -> None:
    everybody = torch.ones(2, 2, dtype=torch.float64)
    assert torch.equal(among(torch.zeros(2, 2, 4), everybody), torch.zeros(2, 2, 4))
    update = drawn(1, 2, 6, seed=4)
    opposed = torch.cat([update, -update])
    torch.testing.assert_close(among(opposed, everybody), torch.zeros_like(opposed), atol=1e-12, rtol=0)
    halves = among(opposed, torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64))
    assert torch.isfinite(halves).all()
    assert torch.isfinite(among(torch.cat([opposed, 0 * update]), drawn_agreement(3))).all()


def test_single_precision_stays_single_precision() -> None:
    updates, agreement = drawn(4, 2, 50, seed=5), drawn_agreement(4)
    found = among(updates.float(), agreement)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), among(updates, agreement), atol=1e-5, rtol=0)


def test_forty_scenarios_at_once() -> None:
    updates, agreement = drawn(40, 2, 12, seed=6), drawn_agreement(40)
    found = among(updates, agreement) * SHRINK
    mean = torch.einsum("sj,jep->sep", alike(agreement), updates)
    assert ((found - mean).norm(dim=2) <= RADIUS * mean.norm(dim=2) * (1 + 1e-9)).all()
