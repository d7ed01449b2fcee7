"""Cross-attention between tower updates."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.cosines import cosines_of, gram_matrices
from pfmsmtrec_flwr.aggregation.towers import attend_by_products, attend_by_similarity


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attend(updates: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend by the cosines of the updates."""
    return attend_by_similarity(updates, cosines_of(gram_matrices(updates.unsqueeze(1)))[0], temperature)


def test_weights_of_three_by_hand() -> None:
    # Cosines: the first two 0.6, the third orthogonal to the first and 0.8 with the second.
    updates = torch.tensor([[5.0, 0.0], [3.0, 4.0], [0.0, 2.0]], dtype=torch.float64)
    attended, weights = attend(updates, temperature=0.2)
    scores = torch.tensor([[5.0, 3.0, 0.0], [3.0, 5.0, 4.0], [0.0, 4.0, 5.0]], dtype=torch.float64).exp()
    expected = scores / scores.sum(dim=1, keepdim=True)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(attended, expected @ updates)


def test_identical_updates_have_their_mean() -> None:
    update = drawn(7)
    attended, weights = attend(update.repeat(4, 1), temperature=0.1)
    torch.testing.assert_close(attended, update.repeat(4, 1))
    torch.testing.assert_close(weights, torch.full((4, 4), 0.25, dtype=torch.float64))


def test_opposed_updates_keep_themselves() -> None:
    update = drawn(7)
    updates = torch.stack([update, -3 * update])
    attended, weights = attend(updates, temperature=0.05)
    torch.testing.assert_close(attended, updates)
    assert float(weights[0, 1]) == pytest.approx(math.exp(-40), rel=1e-6)


@pytest.mark.parametrize("temperature", [1e-3, 1e-6])
def test_near_zero_each_keeps_its_own_update(temperature: float) -> None:
    updates = drawn(5, 6, seed=1)
    torch.testing.assert_close(attend(updates, temperature)[0], updates)


def test_at_a_high_temperature_it_is_the_plain_mean() -> None:
    updates = drawn(5, 6, seed=2)
    attended, _ = attend(updates, temperature=1e9)
    torch.testing.assert_close(attended, updates.mean(dim=0).expand(5, 6))


def test_it_attends_where_inner_products_do_not() -> None:
    # As in a tower: updates of length 0.1, two camps.
    aim = torch.nn.functional.normalize(drawn(64, seed=3), dim=0)
    updates = 0.1 * torch.stack([aim, aim, -aim, -aim])
    _, weights = attend(updates, temperature=0.2)
    assert float(weights[0, 1]) > 0.49
    plain, _ = attend_by_products(updates)
    assert float((plain - updates.mean(dim=0)).norm()) < 0.01 * float(updates[0].norm())


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_the_scale_changes_no_weight(factor: float) -> None:
    updates = drawn(4, 9, seed=4)
    attended, weights = attend(updates, temperature=0.3)
    scaled, same = attend(factor * updates, temperature=0.3)
    torch.testing.assert_close(same, weights)
    torch.testing.assert_close(scaled, factor * attended, rtol=1e-7, atol=0)


def test_the_length_of_one_update_changes_no_weight() -> None:
    updates = drawn(4, 9, seed=5)
    lengths = torch.tensor([1.0, 1e-3, 50.0, 7.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(attend(lengths * updates, 0.3)[1], attend(updates, 0.3)[1])


def test_updates_of_zero_stay_finite_and_lend_nothing() -> None:
    updates = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    attended, weights = attend(updates, temperature=0.1)
    own = 1 / (1 + math.exp(-10))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5], [1 - own, own]], dtype=torch.float64))
    torch.testing.assert_close(attended, torch.tensor([[0.5, 0.0], [own, 0.0]]))
    assert torch.equal(attend(torch.zeros(3, 4), temperature=0.1)[0], torch.zeros(3, 4))


def test_one_scenario_keeps_its_bits() -> None:
    update = drawn(1, 7, seed=6).float()
    assert torch.equal(attend(update, temperature=0.2)[0], update)


@given(st.permutations(range(5)), st.floats(0.01, 10))
def test_the_order_of_the_scenarios_does_not_matter(order: list[int], temperature: float) -> None:
    updates = drawn(5, 6, seed=7)
    attended, weights = attend(updates, temperature)
    turned, own = attend(updates[order], temperature)
    torch.testing.assert_close(turned, attended[order])
    torch.testing.assert_close(own, weights[order][:, order])
    torch.testing.assert_close(own.sum(dim=1), torch.ones(5, dtype=torch.float64))


def test_by_agreement_all_that_agree_wholly_weigh_alike() -> None:
    updates = drawn(3, 8, seed=8)
    agreement = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
    attended, weights = attend_by_similarity(updates, agreement, temperature=0.1)
    high, half = math.exp(10), math.exp(5)
    expected = torch.tensor([[high, high, 1.0], [high, high, half], [1.0, half, high]], dtype=torch.float64)
    expected /= expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(attended, expected @ updates)


class TestByProducts:
    def test_two_by_two_by_hand(self) -> None:
        # Scores <u_s, u_j> / sqrt(2): row 1 (4, 0) / sqrt(2), row 2 (0, 1) / sqrt(2).
        first = 1 / (1 + math.exp(-4 / math.sqrt(2)))
        second = 1 / (1 + math.exp(-1 / math.sqrt(2)))
        mixed, weights = attend_by_products(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        expected = torch.tensor([[2 * first, 1 - first], [2 * (1 - second), second]])
        torch.testing.assert_close(mixed, expected)
        torch.testing.assert_close(
            weights, torch.tensor([[first, 1 - first], [1 - second, second]], dtype=torch.float64)
        )

    def test_equal_updates_stay(self) -> None:
        update = drawn(7).float()
        torch.testing.assert_close(attend_by_products(update.repeat(4, 1))[0], update.repeat(4, 1))

    def test_one_scenario_keeps_its_bits(self) -> None:
        update = drawn(1, 7, seed=1).float()
        assert torch.equal(attend_by_products(update)[0], update)

    @given(st.permutations(range(5)))
    def test_the_order_of_the_scenarios_does_not_matter(self, order: list[int]) -> None:
        updates = drawn(5, 6, seed=2)
        torch.testing.assert_close(attend_by_products(updates[order])[0], attend_by_products(updates)[0][order])

    def test_large_updates_stay_finite_and_follow_themselves(self) -> None:
        updates = torch.eye(3) * 1e8
        torch.testing.assert_close(attend_by_products(updates)[0], updates)
