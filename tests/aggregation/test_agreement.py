"""Agreement of scenarios, from the updates of the rounds so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.aggregation.agreement import CERTAINTY, Agreement
from pfmsmtrec_flwr.aggregation.cosines import cosines_of, gram_matrices

NAMES = ("A", "B", "C", "D")
Round = tuple[list[str], Tensor]
"""Scenarios that report, and their updates (K, E, P)."""


def matrix(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def pairwise(first: float, second: float, third: float) -> list[list[float]]:
    """Cosines of three scenarios: of the first with the second, the first with the third, the second with the third."""
    return [[1.0, first, second], [first, 1.0, third], [second, third, 1.0]]


def after(rounds: Sequence[Round], scenarios: Sequence[str], *, repeats: bool = True) -> Tensor:
    agreement = Agreement(repeats=repeats)
    for reporting, updates in rounds:
        agreement.add(reporting, updates, cosines_of(gram_matrices(updates)))
    return agreement.among(scenarios)


def noisy(aims: Tensor, rounds: int, noise: float | Tensor, seed: int = 0, experts: int = 4) -> list[Round]:
    """Rounds of updates that follow the scenarios' aims (K, K'), combinations of unit vectors, under noise.

    Noise is relative to the length of an aim.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(aims.shape[1], experts, 800, generator=generator, dtype=torch.float64)
    signal = torch.einsum("kj,jep->kep", aims, directions)
    level = torch.as_tensor(noise, dtype=torch.float64).reshape(-1, 1, 1)
    names = [f"S{place:03d}" for place in range(len(aims))]
    drawn = (torch.randn(signal.shape, generator=generator, dtype=torch.float64) for _ in range(rounds))
    return [(names, signal + level * each) for each in drawn]


def others(agreement: Tensor) -> Tensor:
    """Return the agreement of different scenarios, flat."""
    return agreement[~torch.eye(len(agreement), dtype=torch.bool)]


@st.composite
def several_rounds(draw: st.DrawFn) -> list[Round]:
    """A few rounds in each of which some scenarios report, in any order, with updates of their own."""
    rounds = []
    aims = torch.randn(3, 64, generator=torch.Generator().manual_seed(draw(st.integers(0, 10**6))))
    for _ in range(draw(st.integers(1, 3))):
        reporting = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
        updates = torch.randn(len(reporting), 3, 64, generator=generator, dtype=torch.float64)
        rounds.append((reporting, updates + draw(st.floats(0, 3)) * aims))
    return rounds


class TestByHand:
    """One expert with 10,000 parameters: a cosine has a standard deviation of 0.01, and 0.02 is noise."""

    def add(self, agreement: Agreement, names: str, cosines: list[list[float]], updates: Tensor | None = None) -> None:
        none = torch.zeros(len(names), 1, 10_000)
        agreement.add(list(names), none if updates is None else updates, torch.tensor([cosines], dtype=torch.float64))

    def test_one_round_is_relative_to_the_pair_that_agrees_most(self) -> None:
        agreement = Agreement()
        self.add(agreement, "ABC", pairwise(0.6, 0.3, 0.01))
        middle = (0.3 - 0.0004 / 0.3) / (0.6 - 0.0004 / 0.6)
        found = agreement.among("ABC")
        torch.testing.assert_close(found, matrix([1, 1, middle], [1, 1, 0], [middle, 0, 1]))  # 0.01 is noise

    def test_two_rounds_are_relative_to_what_a_scenario_repeats(self) -> None:
        agreement = Agreement()
        first, second = torch.zeros(2, 1, 10_000), torch.zeros(2, 1, 10_000)
        first[:, 0, 0] = 1.0
        second[:, 0, :2] = torch.tensor([[0.5, math.sqrt(0.75)], [0.32, math.sqrt(1 - 0.32**2)]])
        self.add(agreement, "AB", [[1.0, 0.3], [0.3, 1.0]], first)
        self.add(agreement, "AB", [[1.0, 0.24], [0.24, 1.0]], second)
        mean = (0.3 + 0.24 / 2) / 1.5
        error = 0.02 * math.sqrt(1 + 1 / 4) / 1.5
        expected = (mean - error**2 / mean) / math.sqrt(0.5 * 0.32)
        torch.testing.assert_close(agreement.among("AB"), matrix([1, expected], [expected, 1]), rtol=0, atol=1e-7)

    def test_a_scenario_that_repeats_nothing_has_its_error_for_reliability(self) -> None:
        agreement = Agreement()
        first, second = torch.zeros(2, 1, 10_000), torch.zeros(2, 1, 10_000)
        first[:, 0, 0] = 1.0
        second[0, 0, 0], second[1, 0, 1] = 1.0, 1.0  # A repeats itself, B turns off at a right angle
        self.add(agreement, "AB", [[1.0, 0.05], [0.05, 1.0]], first)
        self.add(agreement, "AB", [[1.0, 0.05], [0.05, 1.0]], second)
        error = 0.02 * math.sqrt(1 + 1 / 4) / 1.5
        expected = (0.05 - error**2 / 0.05) / math.sqrt(1.0 * 0.02)
        torch.testing.assert_close(agreement.among("AB"), matrix([1, expected], [expected, 1]), rtol=0, atol=1e-7)

    def test_who_is_new_has_the_largest_cosine_for_its_reliability(self) -> None:
        agreement = Agreement()
        first = torch.zeros(2, 1, 10_000)
        first[:, 0, 0] = 1.0
        second = torch.zeros(3, 1, 10_000)
        second[:2, 0, 0] = 1.0
        self.add(agreement, "AB", [[1.0, 0.4], [0.4, 1.0]], first)
        self.add(agreement, "ABN", pairwise(0.4, 0.2, 0.0), second)
        error = 0.02 * math.sqrt(1 + 1 / 4) / 1.5
        largest = 0.4 - error**2 / 0.4  # A and B repeat themselves wholly: their agreement is this too
        new = (0.2 - 0.0004 / 0.2) / math.sqrt(largest)
        expected = matrix([1, largest, new], [largest, 1, 0], [new, 0, 1])
        torch.testing.assert_close(agreement.among("ABN"), expected, rtol=0, atol=1e-7)

    def test_the_spread_over_the_experts_is_the_noise_of_a_cosine(self) -> None:
        # One pair with cosines 0.3 and 0.1 has a standard deviation of sqrt(0.02) = 0.14: a mean of 0.2 is noise.
        agreement = Agreement()
        cosines = torch.tensor([[[1.0, 0.3], [0.3, 1.0]], [[1.0, 0.1], [0.1, 1.0]]])
        agreement.add(["A", "B"], torch.zeros(2, 2, 10_000), cosines)
        assert torch.equal(agreement.among(["A", "B"]), torch.eye(2, dtype=torch.float64))

    def test_rounds_without_a_scenario_do_not_change_its_cosines(self) -> None:
        agreement = Agreement(repeats=False)
        self.add(agreement, "ABC", pairwise(0.6, 0.3, -0.2))
        self.add(agreement, "CA", [[1.0, 0.9], [0.9, 1.0]])
        mean, error = (0.3 + 0.9 / 2) / 1.5, 0.02 * math.sqrt(1.25) / 1.5
        half = (mean - error**2 / mean) / (0.6 - 0.0004 / 0.6)
        torch.testing.assert_close(agreement.among("ABC"), matrix([1, 1, half], [1, 1, 0], [half, 0, 1]))
        torch.testing.assert_close(agreement.among("CA"), matrix([1, half], [half, 1]))


class TestNoise:
    @pytest.mark.parametrize("rounds", [1, 2, 8])
    @pytest.mark.parametrize("scenarios", [2, 4, 8])
    def test_pure_noise_agrees_on_nothing(self, scenarios: int, rounds: int) -> None:
        nothing = torch.zeros(scenarios, 1)
        found = [
            others(after(noisy(nothing, rounds, 1.0, seed), [f"S{place:03d}" for place in range(scenarios)]))
            for seed in range(160 // scenarios)
        ]
        assert float(torch.stack(found).mean()) < 0.03

    @pytest.mark.parametrize("scenarios", [2, 4, 8])
    def test_scenarios_that_want_the_same_agree_through_the_noise(self, scenarios: int) -> None:
        # Cosines of 0.1: nine times as much noise as aim, in squares.
        rounds = noisy(torch.ones(scenarios, 1), 8, 3.0)
        found = others(after(rounds, rounds[0][0]))
        assert float(found.mean()) > 0.85
        assert float(found.min()) > 0.7

    def test_more_noise_in_one_scenario_does_not_lower_its_agreement(self) -> None:
        rounds = noisy(torch.ones(3, 1), 8, torch.tensor([1.0, 1.0, 4.0]))
        means = torch.stack([cosines_of(gram_matrices(updates)).mean(dim=0) for _, updates in rounds]).mean(dim=0)
        assert float(means[0, 2] / means[0, 1]) < 0.4
        assert float(others(after(rounds, rounds[0][0])).min()) > 0.8

    @pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
    def test_two_scenarios_agree_as_far_as_their_aims_do(self, share: float) -> None:
        aims = torch.tensor([[1.0, 0.0], [share, math.sqrt(1 - share**2)]], dtype=torch.float64)
        found = [others(after(noisy(aims, 8, 1.0, seed), ["S000", "S001"])) for seed in range(10)]
        assert float(torch.stack(found).mean()) == pytest.approx(share, abs=0.1)

    def test_unrelated_aims_agree_on_nothing(self) -> None:
        found = [
            others(after(noisy(torch.eye(2, dtype=torch.float64), 8, 1.0, seed), ["S000", "S001"]))
            for seed in range(30)
        ]
        assert float(torch.stack(found).mean()) < 0.05

    def test_opposed_camps_are_told_apart(self) -> None:
        rounds = noisy(torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.float64), 8, 3.0)
        found = after(rounds, rounds[0][0])
        assert float(found[:2, 2:].max()) == 0.0
        assert min(float(found[0, 1]), float(found[2, 3])) > 0.8

    def test_a_scenario_that_misses_rounds_is_still_known(self) -> None:
        rounds = noisy(torch.ones(3, 1), 10, 2.0)
        some = [
            (names[:2], updates[:2]) if place % 2 else (names, updates) for place, (names, updates) in enumerate(rounds)
        ]
        assert float(others(after(some, rounds[0][0])).min()) > 0.8

    def test_many_scenarios_in_two_camps(self) -> None:
        camps = torch.ones(150, 1, dtype=torch.float64)
        camps[75:] = -1.0
        rounds = noisy(camps, 6, 3.0, experts=2)
        found = after(rounds, rounds[0][0])
        assert float(found[:75, :75].mean()) > 0.8
        assert float(found[75:, 75:].mean()) > 0.8
        assert float(found[:75, 75:].mean()) < 0.001

    def test_without_repeats_momentum_does_not_hide_the_agreement(self) -> None:
        rounds = noisy(torch.ones(3, 1), 6, 2.0)
        kept, carried = [], torch.zeros(3, 4, 800, dtype=torch.float64)
        for names, updates in rounds:  # each update goes on with the one before
            carried = updates + carried
            kept.append((names, carried))
        assert float(others(after(kept, rounds[0][0])).max()) < 0.75
        assert float(others(after(kept, rounds[0][0], repeats=False)).min()) > 0.85


def test_who_never_reported_agrees_with_nobody() -> None:
    assert torch.equal(Agreement().among(["A", "B"]), torch.eye(2, dtype=torch.float64))
    assert torch.equal(after(noisy(torch.ones(2, 1), 1, 0.1), ["S000", "X"]), torch.eye(2, dtype=torch.float64))


def test_one_scenario_alone_is_no_evidence_about_others() -> None:
    rounds = noisy(torch.ones(1, 1), 3, 0.1)
    assert torch.equal(after(rounds, ["S000", "X"]), torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("rounds", [1, 3])
def test_identical_updates_agree_wholly(rounds: int) -> None:
    update = torch.randn(1, 2, 500, generator=torch.Generator().manual_seed(0))
    found = after([(["A", "B", "C"], update.repeat(3, 1, 1))] * rounds, "ABC")
    torch.testing.assert_close(found, torch.ones(3, 3, dtype=torch.float64), rtol=0, atol=2 * CERTAINTY**2 / 500)


def test_an_update_of_zero_agrees_with_itself_alone() -> None:
    update = torch.randn(2, 500, generator=torch.Generator().manual_seed(0))
    found = after([(["A", "B", "C"], torch.stack([update, 2 * update, 0 * update]))] * 2, "ABC")
    torch.testing.assert_close(found, matrix([1, 1, 0], [1, 1, 0], [0, 0, 1]), rtol=0, atol=0.02)
    assert torch.equal(found[2], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))


@given(several_rounds(), st.booleans())
def test_it_is_in_the_unit_interval_symmetric_and_one_with_oneself(rounds: list[Round], repeats: bool) -> None:
    found = after(rounds, NAMES, repeats=repeats)
    assert found.shape == (4, 4)
    assert found.dtype == torch.float64
    assert bool(((found >= 0) & (found <= 1)).all())
    torch.testing.assert_close(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(4, dtype=torch.float64))


@given(several_rounds(), st.permutations(NAMES))
def test_neither_names_nor_their_order_matter(rounds: list[Round], order: list[str]) -> None:
    turned = [(reporting[::-1], updates.flip(0)) for reporting, updates in rounds]
    places = [NAMES.index(name) for name in order]
    torch.testing.assert_close(after(turned, order), after(rounds, NAMES)[places][:, places])
    renamed = [([name * 2 for name in reporting], updates) for reporting, updates in rounds]
    assert torch.equal(after(renamed, [name * 2 for name in NAMES]), after(rounds, NAMES))


@given(several_rounds(), st.floats(1e-9, 1e9), st.floats(1e-3, 1e3))
def test_the_lengths_of_the_updates_do_not_matter(rounds: list[Round], scale: float, growth: float) -> None:
    scaled = [(names, scale * growth**place * updates) for place, (names, updates) in enumerate(rounds)]
    torch.testing.assert_close(after(scaled, NAMES), after(rounds, NAMES))
