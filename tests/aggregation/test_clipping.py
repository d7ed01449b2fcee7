"""The relative lengths of updates, the factors that shorten them, and the largest numbers of uses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.clipping import clip_factors, relative_lengths, uses_fit

Lengths = st.floats(1e-6, 1e6)


def relative(norms: list[float], steps: list[int] | None = None) -> list[float]:
    found = relative_lengths(torch.tensor(norms, dtype=torch.float64), steps or [1] * len(norms))
    return [float(length) for length in found]


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([1.0, 1.5, 3.0], [2 / 3, 1.0, 2.0]),
        ([1.0, 2.0, 4.0, 8.0], [0.5, 1.0, 2.0, 4.0]),  # the lower one of the two in the middle
        ([5.0, 1e30, 5.0], [1.0, 2e29, 1.0]),
        ([0.0, 0.0, 0.0, 4.0], [0.0, 0.0, 0.0, 1.0]),  # who has not moved says nothing about the length of a move
        ([0.0, 1.0, 1.0, 4.0], [0.0, 1.0, 1.0, 4.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([1e30], [1.0]),
        ([2.0, 1000.0], [1.0, 500.0]),  # of two scenarios the one that moved less is the measure
    ],
)
def test_relative_lengths_by_hand(norms: list[float], expected: list[float]) -> None:
    assert relative(norms) == pytest.approx(expected, rel=1e-12)


def test_an_update_of_more_steps_may_be_longer_by_their_square_root() -> None:
    assert relative([1.0, 1.0, 2.0], [1, 1, 4]) == [1.0, 1.0, 1.0]
    assert relative([1.0, 1.0, 8.0], [1, 1, 4]) == [1.0, 1.0, 4.0]


def test_a_factor_brings_a_longer_update_to_the_multiple_and_leaves_others() -> None:
    lengths = torch.tensor([0.0, 0.5, 2.0, 4.0, 1e30], dtype=torch.float64)
    assert clip_factors(lengths, 2.0).tolist() == pytest.approx([1.0, 1.0, 1.0, 0.5, 2e-30], rel=1e-12)


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
    found = clip_factors(relative_lengths(torch.tensor(norms, dtype=torch.float64), steps), multiple).tolist()
    paces = [norm / math.sqrt(count) for norm, count in honest]
    for norm, count, factor in list(zip(norms, steps, found, strict=True))[len(honest) :]:
        assert 0.0 <= factor <= 1.0
        assert factor * norm <= multiple * max(paces) * math.sqrt(count) * (1 + 1e-9)
    for pace, factor in zip(paces, found, strict=False):  # nor can it hold back an honest one further
        assert factor == 1.0 or pace > multiple * min(paces) * (1 - 1e-9)


def test_the_uses_of_each_field_fit_its_largest_number() -> None:
    rows, ends, most = torch.tensor([0, 1, 2, 4]), torch.tensor([2, 5]), torch.tensor([10, 20])
    assert uses_fit(rows, torch.tensor([4, 6, 1, 19]), ends, most)
    assert not uses_fit(rows, torch.tensor([4, 7, 1, 19]), ends, most)
    assert not uses_fit(rows, torch.tensor([4, 6, 2, 19]), ends, most)
    assert not uses_fit(rows, torch.full((4,), 2**31 - 1), ends, most)
    assert uses_fit(rows[:0], rows[:0], ends, most)
