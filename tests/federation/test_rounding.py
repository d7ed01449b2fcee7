from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pfmsmtrec_flwr.config import Precision
from pfmsmtrec_flwr.federation.rounding import (
    LARGEST_HALF,
    SMALLEST_HALF,
    STEPS,
    Coded,
    halved,
    rounded,
    rounded_with_feedback,
    widened,
)

LOW = st.sampled_from(["half", "int8"])
NUMBERS = st.floats(-1e4, 1e4, width=32)


def tensors(numbers: Any = NUMBERS) -> Any:
    shapes = array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=5)
    return arrays("float32", shapes, elements=numbers).map(torch.from_numpy)


def bound(change: torch.Tensor, coded: Coded) -> torch.Tensor:
    """Largest error of each value: half a step of its slice, or half a unit in the last place of float16."""
    if coded.scales is None:
        return change.abs() * 2.0**-11 + SMALLEST_HALF / 2
    steps = coded.scales.float().view(-1, *[1] * (change.dim() - 1)).expand_as(change)
    largest = change.flatten(1).abs().amax(1).view(-1, *[1] * (change.dim() - 1))
    assert (steps <= largest / STEPS * (1 + 2.0**-9) + SMALLEST_HALF).all()
    return steps * (0.5 + 1e-4)


@given(tensors(), LOW)
def test_an_error_is_at_most_half_a_step(change: torch.Tensor, precision: Precision) -> None:
    coded = rounded(change, precision)
    assert coded.values.dtype == (torch.int8 if precision == "int8" and change.dim() > 1 else torch.float16)
    assert coded.decoded().dtype == torch.float32
    assert ((coded.decoded() - change).abs() <= bound(change, coded)).all()


@given(st.integers(0, 2**16), LOW, st.floats(1e-9, 1e3))
def test_decoded_changes_and_what_was_lost_last_sum_to_the_changes(
    seed: int, precision: Precision, size: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    changes = size * torch.randn(20, 3, 4, generator=generator)
    lost, sent = torch.zeros(3, 4), torch.zeros(3, 4, dtype=torch.float64)
    for change in changes:
        coded, lost = rounded_with_feedback(change, lost, precision)
        sent += coded.decoded().double()
    torch.testing.assert_close(sent + lost.double(), changes.double().sum(0), rtol=0, atol=2e-5 * size)


@pytest.mark.parametrize("precision", ["half", "int8"])
def test_a_value_beyond_the_range_is_sent_in_pieces(precision: Precision) -> None:
    largest = LARGEST_HALF * (STEPS if precision == "int8" else 1)
    coded, lost = rounded_with_feedback(torch.tensor([[3 * largest, 1.0]]), torch.zeros(1, 2), precision)
    assert coded.decoded()[0, 0] == largest
    assert lost[0, 0] == pytest.approx(2 * largest)
    for _ in range(2):
        coded, lost = rounded_with_feedback(torch.zeros(1, 2), lost, precision)
    assert lost.abs().max() < largest * 1e-2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_shows(value: float) -> None:
    change = torch.tensor([[1.0, value], [2.0, 3.0]])
    assert not rounded(change, "half").values.isfinite().all()
    scales = rounded(change, "int8").scales
    assert scales is not None and scales.isfinite().tolist() == [False, True]


def test_nothing_is_rounded_to_nothing() -> None:
    for shape in ((0, 3), (2, 0), (2, 3)):
        coded = rounded(torch.zeros(shape), "int8")
        assert torch.equal(coded.decoded(), torch.zeros(shape))


def test_only_float32_in_the_range_of_float16_is_halved() -> None:
    for kept in (torch.tensor([LARGEST_HALF * 2, 0.0]), torch.tensor([math.nan]), torch.tensor([7])):
        assert halved(kept) is kept
    half = halved(torch.tensor([1 / 3, LARGEST_HALF]))
    assert half.dtype == torch.float16
    assert widened(half).tolist() == [0.333251953125, LARGEST_HALF]
    assert widened(torch.tensor([7])).dtype == torch.int64
