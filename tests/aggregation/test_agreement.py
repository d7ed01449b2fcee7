"""Agreement of scenarios, from the cosines of the rounds so far."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.aggregation.agreement import Agreement
from pfmsmtrec_flwr.aggregation.conflict import coordinate

NAMES = ("A", "B", "C", "D")
Round = tuple[list[str], Tensor]


def matrix(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def pairwise(first: float, second: float, third: float) -> list[list[float]]:
    """Cosines of three scenarios: of the first with the second, the first with the third, the second with the third."""
    return [[1.0, first, second], [first, 1.0, third], [second, third, 1.0]]


def after(rounds: Sequence[Round], scenarios: Sequence[str], scale: float = 1.0) -> Tensor:
    agreement = Agreement()
    for reporting, cosines in rounds:
        agreement.add(reporting, scale * cosines)
    return agreement.among(scenarios)


@st.composite
def several_rounds(draw: st.DrawFn) -> list[Round]:
    """A few rounds in each of which some scenarios report, in any order, with updates of their own."""
    rounds = []
    for _ in range(draw(st.integers(1, 3))):
        reporting = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
        updates = torch.randn(draw(st.integers(1, 3)), len(reporting), 3, generator=generator, dtype=torch.float64)
        directions = torch.nn.functional.normalize(updates, dim=2)
        rounds.append((reporting, directions @ directions.transpose(1, 2)))
    return rounds


def test_two_rounds_by_hand_the_second_without_b() -> None:
    agreement = Agreement()
    agreement.add(["A", "B", "C"], torch.tensor([pairwise(0.8, 0.2, -0.4), pairwise(0.4, 0.4, 0.0)]))
    # Means over the experts: AB 0.6, AC 0.3, BC -0.2.
    found = agreement.among(["A", "B", "C"])
    torch.testing.assert_close(found, matrix([1, 1, 0.5], [1, 1, 0], [0.5, 0, 1]), rtol=0, atol=1e-7)
    agreement.add(["C", "A"], torch.tensor([[[1.0, 0.9], [0.9, 1.0]], [[1.0, 0.5], [0.5, 1.0]]]))
    # Over the rounds: AC (0.3 + 0.7) / 2; AB and BC stay, as B did not report.
    found = agreement.among(["A", "B", "C"])
    torch.testing.assert_close(found, matrix([1, 1, 5 / 6], [1, 1, 0], [5 / 6, 0, 1]), rtol=0, atol=1e-7)


def test_the_pair_that_agrees_most_counts_even_while_it_is_away() -> None:
    agreement = Agreement()
    agreement.add(["A", "B", "C"], torch.tensor([pairwise(0.8, 0.2, 0.4)], dtype=torch.float64))
    torch.testing.assert_close(agreement.among(["C", "A"]), matrix([1, 0.25], [0.25, 1]))
    torch.testing.assert_close(agreement.among(["C", "B"]), matrix([1, 0.5], [0.5, 1]))


def test_who_is_new_agrees_with_nobody_until_it_reports() -> None:
    agreement = Agreement()
    assert torch.equal(agreement.among(["A", "B"]), torch.eye(2, dtype=torch.float64))
    agreement.add(["A", "B"], matrix([1, 0.5], [0.5, 1])[None])
    assert torch.equal(agreement.among(["A", "N", "B"]), matrix([1, 0, 1], [0, 1, 0], [1, 0, 1]))
    agreement.add(["N", "B"], matrix([1, 0.25], [0.25, 1])[None])
    assert torch.equal(agreement.among(["A", "N", "B"]), matrix([1, 0, 1], [0, 1, 0.5], [1, 0.5, 1]))


@pytest.mark.parametrize("cosine", [-1.0, -0.3, 0.0])
def test_where_no_pair_agrees_each_stands_alone(cosine: float) -> None:
    cosines = torch.full((2, 3, 3), cosine).diagonal_scatter(torch.ones(2, 3), dim1=1, dim2=2)
    assert torch.equal(after([(["A", "B", "C"], cosines)], "ABC"), torch.eye(3, dtype=torch.float64))


def test_who_pulls_the_other_way_has_an_agreement_of_zero() -> None:
    updates = torch.tensor([[[1.0, 2.0]], [[0.5, 1.0]], [[-3.0, -6.0]]])  # (K, E, P)
    found = after([(["A", "B", "C"], coordinate(updates, 0.4).cosines)], "ABC")
    torch.testing.assert_close(found, matrix([1, 1, 0], [1, 1, 0], [0, 0, 1]))


def test_an_update_of_zero_agrees_with_itself_alone() -> None:
    cosines = coordinate(torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]], [[0.0, 0.0]]]), 0.4).cosines
    assert float(cosines[0, 2, 2]) == 0.0
    torch.testing.assert_close(after([(["A", "B", "C"], cosines)], "ABC"), matrix([1, 1, 0], [1, 1, 0], [0, 0, 1]))


def test_two_camps_are_told_apart_through_the_noise() -> None:
    """Two camps; the cosine of two updates in a camp is about 0.1: a common aim under nine times as much noise."""
    generator = torch.Generator().manual_seed(0)
    aim = torch.randn(2, 200, generator=generator)
    camps = torch.tensor([1.0, 1.0, -1.0, -1.0])
    agreement = Agreement()
    for _ in range(30):
        noise = 3 * torch.randn(4, 2, 200, generator=generator)
        agreement.add(NAMES, coordinate(camps[:, None, None] * aim + noise, 0.4).cosines)
    found = agreement.among(NAMES)
    assert float(found[:2, 2:].max()) == 0.0
    assert min(float(found[0, 1]), float(found[2, 3])) > 0.8


@given(several_rounds())
def test_it_is_in_the_unit_interval_symmetric_and_one_with_oneself(rounds: list[Round]) -> None:
    found = after(rounds, NAMES)
    assert found.shape == (4, 4)
    assert found.dtype == torch.float64
    assert bool(((found >= 0) & (found <= 1)).all())
    torch.testing.assert_close(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(4, dtype=torch.float64))
    others = found - torch.eye(4, dtype=torch.float64)
    assert float(others.max()) in (0.0, 1.0)  # one for the pair that agrees most, if any agrees


@given(several_rounds(), st.permutations(NAMES))
def test_neither_names_nor_their_order_matter(rounds: list[Round], order: list[str]) -> None:
    turned = [(reporting[::-1], cosines.flip(1, 2)) for reporting, cosines in rounds]
    places = [NAMES.index(name) for name in order]
    torch.testing.assert_close(after(turned, order), after(rounds, NAMES)[places][:, places])
    renamed = [([name * 2 for name in reporting], cosines) for reporting, cosines in rounds]
    assert torch.equal(after(renamed, [name * 2 for name in NAMES]), after(rounds, NAMES))


@given(several_rounds(), st.floats(1e-3, 1e3))
def test_the_scale_of_the_cosines_does_not_matter(rounds: list[Round], scale: float) -> None:
    torch.testing.assert_close(after(rounds, NAMES, scale), after(rounds, NAMES))
