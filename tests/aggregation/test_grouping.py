"""Dynamic grouping by deviations from the mean model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.grouping import group_weights, weights_among


def test_the_weights_in_numbers() -> None:
    # The mean is (1, 1): the deviations are (2, 0), (-1, 1) and (-1, -1).
    models = torch.tensor([[3.0, 1.0], [0.0, 2.0], [0.0, 0.0]])
    near = 0.75 - 0.5**0.5  # of the first with both others
    total = 1.75 + 2 * near
    expected = [[1.75 / total, near / total, near / total]]
    rows = 1.75 + 0.75 + near  # the second and the third are orthogonal
    expected += [[near / rows, 1.75 / rows, 0.75 / rows], [near / rows, 0.75 / rows, 1.75 / rows]]
    torch.testing.assert_close(group_weights(models, 0.75), torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(group_weights(models, 0.0), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_two_models_are_opposed(threshold: float) -> None:
    """Two deviations from their mean are opposed, so two scenarios share nothing at any threshold."""
    weights = group_weights(torch.tensor([[1.0, 2.0], [3.0, 5.0]]), threshold)
    torch.testing.assert_close(weights, torch.eye(2, dtype=torch.float64))


def test_equal_models_are_finite() -> None:
    assert torch.equal(group_weights(torch.ones(3, 4), 0.0), torch.eye(3, dtype=torch.float64))


def test_it_is_the_rule_of_the_authors_code() -> None:
    models = torch.randn(5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    delta = models - models.mean(dim=0)
    norm = torch.linalg.norm(delta, ord=2, dim=1, keepdim=True)
    scores = torch.clamp(delta @ delta.T / torch.clamp(norm @ norm.T, min=1e-8) + 0.3, min=0.0)
    torch.testing.assert_close(group_weights(models, 0.3), scores / scores.sum(dim=1, keepdim=True))


@given(st.integers(1, 6), st.integers(1, 5), st.floats(0, 1), st.integers(0, 1000))
def test_rows_are_weights_whatever_the_order(scenarios: int, width: int, threshold: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    models = torch.randn(scenarios, width, generator=generator)
    weights = group_weights(models, threshold)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(scenarios, dtype=torch.float64))
    order = torch.randperm(scenarios, generator=generator)
    torch.testing.assert_close(group_weights(models[order], threshold), weights[order][:, order])


def test_weights_among_some() -> None:
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]])
    torch.testing.assert_close(weights_among(weights, [0, 2]), torch.tensor([[2 / 3, 1 / 3], [1 / 9, 8 / 9]]))
