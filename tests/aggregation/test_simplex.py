"""The interior-point solver on problems whose solution is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.simplex import minimise_on_simplex


def solve(linear: list[float], gram: list[list[float]], radius: float) -> tuple[Tensor, Tensor]:
    w, unit = minimise_on_simplex(
        torch.tensor([linear], dtype=torch.float64),
        torch.tensor([gram], dtype=torch.float64),
        torch.tensor([radius], dtype=torch.float64),
    )
    return w[0], unit[0]


def close(actual: Tensor, expected: list[float], tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), atol=tolerance, rtol=0)


def test_without_a_norm_the_smallest_linear_term_wins() -> None:
    w, _ = solve([0.3, -0.2, 0.5], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], 0.0)
    close(w, [0, 1, 0])


def test_the_norm_alone_spreads_the_weights() -> None:
    # Shortest point of the simplex under a diagonal norm: weights as the inverse of the diagonal, 1 : 1/4.
    w, unit = solve([0, 0], [[1, 0], [0, 4]], 1.0)
    close(w, [0.8, 0.2])
    close(unit, [0.8 / 0.8**0.5, 0.2 / 0.8**0.5])


def test_the_linear_term_and_the_norm_in_balance() -> None:
    # w = (1 + d, 1 - d) / 2, norm sqrt((1 + d^2) / 2): the derivative -l + d / sqrt(2 (1 + d^2)) vanishes at d for
    # l = d / sqrt(2 (1 + d^2)); d = 1/2 gives l = 1 / sqrt(10).
    w, _ = solve([-(10**-0.5), 10**-0.5], [[1, 0], [0, 1]], 1.0)
    close(w, [0.75, 0.25])


def test_where_the_norm_vanishes_the_direction_is_a_subgradient() -> None:
    # Exact opposites: only equal weights have norm zero, and linear + radius * gram @ unit must be constant.
    linear, radius = torch.tensor([0.1, -0.1], dtype=torch.float64), 1.0
    gram = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    w, unit = solve(linear.tolist(), gram.tolist(), radius)
    close(w, [0.5, 0.5])
    slope = linear + radius * gram @ unit
    assert float(slope[0]) == pytest.approx(float(slope[1]), abs=1e-6)
    assert float(unit @ gram @ unit) <= 1.0


def test_one_scenario() -> None:
    w, unit = solve([0.7], [[4.0]], 0.3)
    close(w, [1.0], 1e-12)
    close(unit, [0.5])


def test_nothing_to_minimise() -> None:
    w, unit = solve([0, 0, 0], [[0, 0, 0]] * 3, 0.0)
    close(w, [1 / 3] * 3, 1e-12)
    assert torch.isfinite(unit).all()
