"""Averages of embedding tables from the rows that each scenario touched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows, average_tables, use_weights

TABLE = torch.tensor([[0.5, 0.1], [1.0, 2.0], [3.0, 4.0], [0.3, 0.7]])


def update(rows: list[int], values: list[list[float]], counts: list[int]) -> RowUpdate:
    return RowUpdate(torch.tensor(rows), torch.tensor(values), torch.tensor(counts))


FIRST = update([1, 2], [[2.0, 2.0], [0.1, 0.3]], [3, 7])
SECOND = update([0, 1], [[1.0, 1.0], [6.0, -2.0]], [2, 1])


def same_bits(first: Tensor, second: Tensor) -> bool:
    return torch.equal(first.view(torch.int32), second.view(torch.int32))


def test_rows_are_weighted_by_how_often_they_were_used() -> None:
    averaged = average_rows(TABLE, [FIRST, SECOND])
    torch.testing.assert_close(averaged[1], torch.tensor([3.0, 1.0]))  # (3 * 2 + 6) / 4, (3 * 2 - 2) / 4


def test_a_row_of_one_scenario_is_its_value_and_others_stay() -> None:
    averaged = average_rows(TABLE, [FIRST, SECOND])
    assert same_bits(averaged[2], FIRST.values[1])
    assert same_bits(averaged[0], SECOND.values[0])
    assert same_bits(averaged[3], TABLE[3])


def test_without_balance_each_use_counts_one() -> None:
    assert use_weights([FIRST, SECOND], 0.0).tolist() == [1.0, 1.0]


def test_with_full_balance_uses_count_as_shares_of_all_uses() -> None:
    weights = use_weights([FIRST, SECOND], 1.0)  # 10 uses and 3
    torch.testing.assert_close(weights, torch.tensor([0.3, 1.0], dtype=torch.float64))
    averaged = average_rows(TABLE, [FIRST, SECOND], weights)
    shares = torch.tensor([3 / 10, 1 / 3])
    expected = (shares[0] * FIRST.values[0] + shares[1] * SECOND.values[1]) / shares.sum()
    torch.testing.assert_close(averaged[1], expected)


def test_half_a_balance_is_the_root_of_the_uses() -> None:
    first, second = use_weights([FIRST, SECOND], 0.5).tolist()
    assert (first, second) == pytest.approx((0.3**0.5, 1.0))


@given(st.permutations(range(3)), st.floats(0.0, 1.0))
def test_balance_follows_the_scenarios_and_knows_no_scale(order: list[int], balance: float) -> None:
    updates = [update([0], [[0.0, 0.0]], [uses]) for uses in (4, 12, 50)]
    tenfold = [update([0], [[0.0, 0.0]], [10 * uses]) for uses in (4, 12, 50)]
    weights = use_weights(updates, balance)
    assert (weights > 0).all()
    assert weights.max() == 1.0
    torch.testing.assert_close(use_weights([updates[place] for place in order], balance), weights[list(order)])
    torch.testing.assert_close(use_weights(tenfold, balance), weights)


def test_scenarios_without_uses_disturb_no_balance() -> None:
    none = update([], [], [])
    assert use_weights([none, none], 0.5).tolist() == [1.0, 1.0]
    assert use_weights([none, FIRST, SECOND], 1.0).tolist() == pytest.approx([1.0, 0.3, 1.0])


def test_uses_count_as_much_as_their_scenario_does() -> None:
    averaged = average_rows(TABLE, [FIRST, SECOND], torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(averaged[1], torch.tensor([3.6, 0.4]))  # (1.5 * 2 + 6) / 2.5, (1.5 * 2 - 2) / 2.5
    assert same_bits(averaged[2], FIRST.values[1])  # a row of one scenario has its value, whatever the weight
    assert same_bits(averaged[0], SECOND.values[0])


def test_a_scenario_of_weight_zero_does_not_count() -> None:
    averaged = average_rows(TABLE, [FIRST, SECOND], torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert same_bits(averaged, average_rows(TABLE, [FIRST]))
    assert same_bits(averaged[0], TABLE[0])  # which only that scenario touched
    assert same_bits(average_rows(TABLE, [FIRST, SECOND], torch.zeros(2)), TABLE)


def test_every_update_has_a_weight() -> None:
    with pytest.raises(ValueError, match="shorter"):
        average_rows(TABLE, [FIRST, SECOND], torch.ones(1))


@st.composite
def updates_of_rows(draw: st.DrawFn) -> list[RowUpdate]:
    """Some scenarios' updates of some rows of the table."""
    drawn = []
    for _ in range(draw(st.integers(1, 4))):
        rows = sorted(draw(st.sets(st.integers(0, 3))))
        counts = [draw(st.integers(1, 10**6)) for _ in rows]
        values = torch.randn(len(rows), 2, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
        drawn.append(RowUpdate(torch.tensor(rows, dtype=torch.int64), values, torch.tensor(counts, dtype=torch.int64)))
    return drawn


@given(updates_of_rows(), st.floats(1e-3, 1e3))
def test_equal_weights_are_none(updates: list[RowUpdate], weight: float) -> None:
    ones = torch.ones(len(updates), dtype=torch.float64)
    assert same_bits(average_rows(TABLE, updates, ones), average_rows(TABLE, updates))
    torch.testing.assert_close(average_rows(TABLE, updates, weight * ones), average_rows(TABLE, updates))


def test_the_table_itself_is_left_alone() -> None:
    before = TABLE.clone()
    average_rows(TABLE, [FIRST, SECOND])
    average_tables(TABLE, [FIRST, SECOND], torch.tensor([0.5, 0.5]))
    assert torch.equal(TABLE, before)


def test_the_order_of_the_updates_does_not_matter() -> None:
    torch.testing.assert_close(average_rows(TABLE, [FIRST, SECOND]), average_rows(TABLE, [SECOND, FIRST]))
    there = average_tables(TABLE, [FIRST, SECOND], torch.tensor([0.25, 0.75], dtype=torch.float64))
    back = average_tables(TABLE, [SECOND, FIRST], torch.tensor([0.75, 0.25], dtype=torch.float64))
    torch.testing.assert_close(there, back)


def test_nobody_touched_anything() -> None:
    nothing = RowUpdate(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    assert same_bits(average_rows(TABLE, [nothing, nothing]), TABLE)
    assert same_bits(average_rows(TABLE, []), TABLE)


def test_plain_averages_count_who_did_not_touch_a_row_with_the_old_value() -> None:
    averaged = average_tables(TABLE, [FIRST, SECOND], torch.tensor([0.25, 0.75], dtype=torch.float64))
    expected = torch.tensor(
        [
            [0.25 * 0.5 + 0.75, 0.25 * 0.1 + 0.75],
            [0.25 * 2 + 0.75 * 6, 0.25 * 2 - 0.75 * 2],
            [0.25 * 0.1 + 0.75 * 3, 0.25 * 0.3 + 0.75 * 4],
            [0.3, 0.7],
        ]
    )
    torch.testing.assert_close(averaged, expected)
    assert same_bits(averaged[3], TABLE[3])


def test_one_scenario_gets_its_own_table_back() -> None:
    expected = TABLE.clone()
    expected[[1, 2]] = FIRST.values
    assert same_bits(average_rows(TABLE, [FIRST]), expected)
    assert same_bits(average_tables(TABLE, [FIRST], torch.ones(1, dtype=torch.float64)), expected)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=5))
def test_an_average_lies_between_its_values(counts: list[int]) -> None:
    updates = [update([2], [[float(number), -1.0]], [count]) for number, count in enumerate(counts)]
    averaged = average_rows(TABLE, updates)[2]
    assert -1e-6 <= float(averaged[0]) <= (len(counts) - 1) * (1 + 1e-6)
    torch.testing.assert_close(averaged[1], torch.tensor(-1.0))
    expected = sum(number * count for number, count in enumerate(counts)) / sum(counts)
    torch.testing.assert_close(float(averaged[0]), expected, rtol=1e-5, atol=1e-5)
