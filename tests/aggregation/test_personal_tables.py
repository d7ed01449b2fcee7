from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.aggregation.consensus import mixture_weights, weighted_mean
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows
from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
from pfmsmtrec_flwr.aggregation.table_checksum import table_checksum

LENGTH, WIDTH = 9, 3
NAMES = ("A", "B", "C", "D")


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()


def update(rows: list[int], values: list[float], counts: list[int] | None = None) -> RowUpdate:
    uses = torch.tensor(counts or [1] * len(rows), dtype=torch.int64)
    return RowUpdate(torch.tensor(rows, dtype=torch.int64), torch.tensor(values).view(len(rows), -1), uses)


@dataclass(frozen=True)
class Round:
    """Updates of the scenarios that are there, and weights; or another whole table of a scenario."""

    updates: dict[str, RowUpdate]
    weights: Tensor
    whole: str = ""


VALUES = st.sampled_from([0.0, -0.0, 1.0, 0.1, -3.7, 1e-30, 2.5e10])
WEIGHTS = st.sampled_from([0.0, 0.0, 1.0, 0.3, 1e-9, 0.77])


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    if draw(st.integers(0, 5)) == 0:
        return Round({}, torch.empty(0), draw(st.sampled_from(NAMES)))
    present = sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1)))
    updates = {}
    for name in present:
        rows = sorted(draw(st.sets(st.integers(0, LENGTH - 1))))
        values = draw(st.lists(VALUES, min_size=len(rows) * WIDTH, max_size=len(rows) * WIDTH))
        counts = draw(st.lists(st.integers(1, 9), min_size=len(rows), max_size=len(rows)))
        updates[name] = RowUpdate(
            torch.tensor(rows, dtype=torch.int64),
            torch.tensor(values).view(len(rows), WIDTH),
            torch.tensor(counts, dtype=torch.int64),
        )
    size = len(present)
    weights = torch.tensor(draw(st.lists(WEIGHTS, min_size=size**2, max_size=size**2)), dtype=torch.float64)
    return Round(updates, weights.view(size, size))


@settings(max_examples=75)
@given(st.lists(rounds(), min_size=1, max_size=5), st.booleans())
def test_it_is_whole_tables_of_every_scenario_to_the_bit(history: list[Round], alike: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(LENGTH, WIDTH, generator=generator)
    first[4] = -0.0
    tables = {name: first if alike else first + index for index, name in enumerate(NAMES)}
    held = PersonalTable.of(tables.items())
    states = [(held, tables)]
    for each in history:
        tables = dict(tables)
        if each.whole:
            tables[each.whole] = torch.randn(LENGTH, WIDTH, generator=generator).round()
            held = held.with_table(each.whole, tables[each.whole])
        else:
            updates = list(each.updates.values())
            for name, own in zip(each.updates, each.weights, strict=True):
                tables[name] = average_rows(tables[name], updates, own)
            held = held.averaged(each.updates, each.weights)
        states.append((held, tables))
    some = torch.tensor([0, 3, 4, 8])
    for state, expected in states:  # earlier states stay what they were
        changed = held.changed_since(state)
        assert changed is not None
        for name, table in expected.items():
            assert same_bits(state.table(name), table)
            assert same_bits(state.rows_of(name, some), table[some])
            assert torch.equal(state.checksum(name), table_checksum(table))
            differing = (table.view(torch.int32) != tables[name].view(torch.int32)).any(1).nonzero().flatten()
            assert set(differing.tolist()) <= set(changed.tolist())
    kept = PersonalTable.from_state(held.state_dict())
    assert same_bits(kept.table("B"), tables["B"])
    assert torch.equal(kept.checksum("B"), table_checksum(tables["B"]))
    weights = mixture_weights([3, 1])
    found, both = held.mean(["A", "C"], weights), torch.stack([tables["A"], tables["C"]])
    torch.testing.assert_close(found, weighted_mean(both, weights))
    alone = (both[0] != both[1]).any(1)
    assert same_bits(found[alone], weighted_mean(both[:, alone], weights))
    if held.kept_rows == LENGTH:  # nobody differs
        assert same_bits(found, tables["A"])


def test_a_round_in_numbers() -> None:
    held = PersonalTable.of((name, torch.zeros(4, 1)) for name in NAMES)
    updates = {"A": update([0, 1], [1.0, 2.0]), "B": update([1, 2], [6.0, 4.0], [3, 1])}  # C and D are absent
    after = held.averaged(updates, torch.tensor([[1.0, 1.0], [0.0, 1.0]]))  # B does not count A
    assert after.table("A").flatten().tolist() == [1.0, 5.0, 4.0, 0.0]
    assert after.table("B").flatten().tolist() == [0.0, 6.0, 4.0, 0.0]
    for absent in "CD":
        assert after.table(absent).flatten().tolist() == [0.0] * 4
    # The base is [1, 5, 4, 0]. B differs in rows 0 and 1, those that are absent in rows 0 to 2.
    assert after.kept_rows == 4 + 2 + 3 + 3


@pytest.mark.parametrize("scenarios", [2, 8, 32])
def test_rows_of_one_scenario_are_held_once_however_many_scenarios_there_are(scenarios: int) -> None:
    names = [f"{number:02d}" for number in range(scenarios)]
    held = PersonalTable.of((name, torch.zeros(200, 2)) for name in names)
    for turn in (1.0, 2.0):
        updates = {
            name: RowUpdate(
                torch.tensor([0, *range(1 + 5 * place, 6 + 5 * place)]),
                torch.full((6, 2), turn + place),
                torch.ones(6, dtype=torch.int64),
            )
            for place, name in enumerate(names)
        }
        weights = 0.5 + torch.rand(scenarios, scenarios, generator=torch.Generator().manual_seed(0))
        held = held.averaged(updates, weights)
    assert held.kept_rows == 200 + scenarios - 1  # row 0 is common and differs, 5 rows of each scenario do not
    assert held.table(names[-1])[6 + 5 * 0].tolist() == [3.0, 3.0]  # a row of the second scenario


def test_only_the_last_state_can_be_changed() -> None:
    first = PersonalTable.of({"A": torch.zeros(2, 1), "B": torch.ones(2, 1)}.items())
    second = first.with_table("A", torch.ones(2, 1))
    assert (first.kept_rows, second.kept_rows) == (4, 6)
    assert first.changed_since(second) is None
    with pytest.raises(ValueError, match="change its last state"):
        first.with_table("A", torch.ones(2, 1))
    assert "A" in second
    assert "C" not in second
    with pytest.raises(ValueError, match="no scenario has the table"):
        PersonalTable.of([])


def test_the_table_of_a_single_scenario_is_held_once() -> None:
    held = PersonalTable.of([("A", torch.zeros(3, 1))]).with_table("A", torch.tensor([[0.0], [1.0], [2.0]]))
    assert held.kept_rows == 3
    assert held.table("A").flatten().tolist() == [0.0, 1.0, 2.0]
