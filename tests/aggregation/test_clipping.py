"""The factors that shorten long updates, and the caps of counts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.clipping import capped_counts, clip_factors

Lengths = st.floats(1e-6, 1e6)


def factors(norms: list[float], steps: list[int] | None = None, multiple: float = 2.0) -> list[float]:
    found = clip_factors(torch.tensor(norms, dtype=torch.float64), steps or [1] * len(norms), multiple)
    return [float(factor) for factor in found]


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([1.0, 1.5, 2.0], [1.0, 1.0, 1.0]),
        ([1.0, 1.0, 2.0, 4.0], [1.0, 1.0, 1.0, 0.25]),  # counts with a length of 1: 2² / 4
        ([1.0, 3.0, 3.0, 7.0], [1.0, 1.0, 1.0, 36 / 49]),
        ([5.0, 1e30, 5.0], [1.0, 1e-58, 1.0]),
        ([0.0, 0.0, 0.0, 4.0], [1.0, 1.0, 1.0, 1.0]),  # who has not moved says nothing about the length of a move
        ([0.0, 1.0, 1.0, 4.0], [1.0, 1.0, 1.0, 0.25]),
    ],
)
def test_factors_by_hand(norms: list[float], expected: list[float]) -> None:
    assert factors(norms) == pytest.approx(expected, rel=1e-12)


def test_an_update_of_more_steps_may_be_longer_by_their_square_root() -> None:
    assert factors([1.0, 1.0, 4.0], [1, 1, 4]) == [1.0, 1.0, 1.0]
    assert factors([1.0, 1.0, 8.0], [1, 1, 4]) == [1.0, 1.0, 0.25]


@pytest.mark.parametrize("norm", [0.0, 1e-9, 1.0, 1e30])
def test_a_scenario_alone_keeps_its_update(norm: float) -> None:
    assert factors([norm]) == [1.0]


def test_of_two_scenarios_neither_moves_farther_than_a_multiple_of_the_other() -> None:
    assert factors([1.0, 2.0]) == [1.0, 1.0]
    assert factors([1.0, 1000.0]) == [1.0, pytest.approx((2 / 1000) ** 2)]
    assert factors([1000.0, 1.0]) == [pytest.approx((2 / 1000) ** 2), 1.0]


@given(
    st.lists(st.tuples(Lengths, st.integers(1, 500)), min_size=2, max_size=6),
    st.lists(st.tuples(st.floats(0, 1e300), st.integers(1, 500)), max_size=5),
    st.floats(1.0, 10.0),
)
def test_no_minority_moves_farther_than_the_bound(
    honest: list[tuple[float, int]], hostile: list[tuple[float, int]], multiple: float
) -> None:
    hostile = hostile[: len(honest) - 1]
    norms, steps = zip(*honest, *hostile, strict=True)
    found = factors(list(norms), list(steps), multiple)
    pace = max(norm / math.sqrt(count) for norm, count in honest)
    for norm, count, factor in list(zip(norms, steps, found, strict=True))[len(honest) :]:
        assert 0.0 <= factor <= 1.0
        assert factor * norm <= multiple * pace * math.sqrt(count) * (1 + 1e-9)
    slowest = min(norm / math.sqrt(count) for norm, count in honest)
    for (norm, count), factor in zip(honest, found, strict=False):  # nor can it hold back an honest one further
        assert factor == 1.0 or norm > multiple * slowest * math.sqrt(count) * (1 - 1e-9)


def test_counts_within_the_largest_numbers_are_returned_as_they_are() -> None:
    counts = torch.tensor([3, 7, 10])
    assert capped_counts(torch.tensor([0, 1, 4]), counts, torch.tensor([2, 5]), torch.tensor([10, 10])) is counts


def test_counts_of_a_field_are_scaled_down_to_its_largest_number() -> None:
    rows = torch.tensor([0, 1, 2, 4])
    counts = torch.tensor([2**31 - 1, 2**31 - 1, 1, 9])
    capped = capped_counts(rows, counts, torch.tensor([2, 5]), torch.tensor([10, 10]))
    assert capped.tolist() == [5, 5, 1, 9]  # the second field has 10 uses, as many as it may have
    assert capped.dtype == torch.int64


@given(st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=40), st.integers(1, 1000))
def test_no_field_has_more_uses_than_its_largest_number_and_its_rows(counts: list[int], most: int) -> None:
    rows = torch.arange(len(counts))
    capped = capped_counts(rows, torch.tensor(counts), torch.tensor([len(counts)]), torch.tensor([most]))
    assert int(capped.sum()) <= most + len(counts)
    assert bool((capped >= 1).all())
    assert bool((capped <= torch.tensor(counts)).all())
