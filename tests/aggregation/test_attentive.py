"""Attentive mixtures of the scenarios' models."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.attentive import among, attention, mix, squared_distances


def test_distances_are_euclidean_and_squared() -> None:
    models = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    expected = torch.tensor([[0.0, 25.0, 1.0], [25.0, 0.0, 18.0], [1.0, 18.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(squared_distances(models), expected)


def test_near_models_far_from_the_origin_have_a_distance() -> None:
    models = torch.tensor([[1000.0, 1000.0], [1000.0, 1001.0]])
    torch.testing.assert_close(squared_distances(models)[0, 1], torch.tensor(1.0, dtype=torch.float64))


def test_each_others_part_is_the_step_times_the_slope() -> None:
    distances = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]], dtype=torch.float64)  # mean 2
    weights = attention(distances, self_weight=0.6, width=2.0)
    slopes = [math.exp(-distance / 2 / 2) / 2 for distance in (1.0, 2.0, 3.0)]
    step = 0.4 / (slopes[0] + slopes[1])  # the first scenario has the nearest others
    near, middle, far = (step * slope for slope in slopes)
    expected = [
        [1 - near - middle, near, middle],
        [near, 1 - near - far, far],
        [middle, far, 1 - middle - far],
    ]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))


def test_the_scenario_with_the_nearest_others_keeps_just_its_own_part() -> None:
    distances = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 4.0], [1.0, 4.0, 0.0]], dtype=torch.float64)  # mean 2
    near, far = math.exp(-0.5), math.exp(-2.0)
    weights = attention(distances, self_weight=0.3, width=1.0)
    step = 0.7 / (2 * near)
    expected = [
        [0.3, 0.35, 0.35],
        [0.35, 0.65 - step * far, step * far],
        [0.35, step * far, 0.65 - step * far],
    ]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))


def test_all_of_its_own_is_no_mixture() -> None:
    models = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mix(models, attention(squared_distances(models), self_weight=1.0, width=1.0)), models)


def test_models_too_far_apart_for_the_width_keep_to_themselves() -> None:
    models = torch.tensor([[0.0], [1.0], [2.0]])
    assert torch.equal(attention(squared_distances(models), 0.5, width=1e-6), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("scenarios", [1, 3])
def test_mixtures_of_equal_models_are_that_model(scenarios: int) -> None:
    models = torch.randn(1, 7, generator=torch.Generator().manual_seed(0)).expand(scenarios, 7)
    weights = attention(squared_distances(models), self_weight=0.3, width=1.0)
    torch.testing.assert_close(mix(models, weights), models)


def test_a_single_model_keeps_every_bit() -> None:
    model = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mix(model, attention(squared_distances(model), self_weight=0.5, width=1.0)), model)


@given(st.integers(0, 1000), st.integers(2, 6), st.floats(0.01, 0.99), st.floats(0.05, 5.0), st.floats(1e-3, 1e3))
def test_weights_are_those_of_a_mixture(seed: int, scenarios: int, own: float, width: float, scale: float) -> None:
    models = torch.randn(scenarios, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    distances = squared_distances(models)
    weights = attention(distances, own, width)
    assert bool((weights >= 0).all())
    assert float(weights.diagonal().min()) == pytest.approx(own)  # nobody loses its own model
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(scenarios, dtype=torch.float64))
    torch.testing.assert_close(weights, weights.T)
    torch.testing.assert_close(attention(squared_distances(models * scale), own, width), weights)
    order = torch.randperm(scenarios, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(attention(distances[order][:, order], own, width), weights[order][:, order])
    others = weights[0, 1:]
    assert torch.equal(others.argsort(descending=True, stable=True), distances[0, 1:].argsort(stable=True))


def test_what_others_lack_is_each_ones_own() -> None:
    weights = torch.tensor([[0.5, 0.2, 0.3], [0.2, 0.7, 0.1], [0.3, 0.1, 0.6]])
    torch.testing.assert_close(among(weights, [0, 2]), torch.tensor([[0.7, 0.3], [0.3, 0.7]]))
    torch.testing.assert_close(among(weights, [1]), torch.ones(1, 1))
    torch.testing.assert_close(among(weights, [0, 1, 2]), weights)


def test_tensors_of_any_shape_are_mixed() -> None:
    values = torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]])  # (K=2, 1, 2)
    weights = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    assert torch.equal(mix(values, weights), torch.tensor([[[1.5, 3.0]], [[2.0, 4.0]]]))
