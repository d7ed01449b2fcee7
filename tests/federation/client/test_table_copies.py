from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.aggregation.table_checksum import table_checksum
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.client import table_copies
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.model.embeddings import differing_rows

VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.5, 1e-40, float("inf"), float("nan")])


def bits(table: Tensor) -> list[list[int]]:
    return table.contiguous().view(torch.int32).tolist()


@st.composite
def copies(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """A table and a copy of it, of which some values differ."""
    rows, width = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    cells = st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=rows, max_size=rows)
    return torch.tensor(draw(cells)), torch.tensor(draw(cells))


@given(copies())
def test_changed_rows_make_the_table_of_its_copy_to_the_bit(tables: tuple[Tensor, Tensor]) -> None:
    copy, table = tables
    differs = differing_rows(copy, table)
    assert differs.tolist() == [one != other for one, other in zip(bits(copy), bits(table), strict=True)]
    before = bits(copy)
    made = TableCopy.of(copy).changed(ChangedRows.of(table, differs.nonzero().flatten()))
    assert made is not None
    assert bits(made.table()) == bits(table)
    assert bits(copy) == before


@given(copies())
def test_a_row_that_is_missing_is_noticed(tables: tuple[Tensor, Tensor]) -> None:
    copy, table = tables
    rows = differing_rows(copy, table).nonzero().flatten()
    if len(rows):
        assert TableCopy.of(copy).changed(ChangedRows.of(table, rows[1:])) is None


@pytest.mark.parametrize(
    "copy", [torch.zeros(2, 2), torch.zeros(4, 3), torch.zeros(5, 2), torch.zeros(8), torch.zeros(4, 2).double()]
)
def test_a_copy_of_another_form_is_none(copy: Tensor) -> None:
    table = torch.zeros(4, 2)
    table[3] = 1.0
    assert TableCopy.of(copy).changed(ChangedRows.of(table, torch.tensor([3]))) is None


@pytest.mark.parametrize("rows", [[2, 1], [1, 1], [-1, 1], [1, 4], [1]])
def test_rows_that_are_no_set_of_the_tables_rows_make_no_table(rows: list[int]) -> None:
    change = ChangedRows(torch.tensor(rows), torch.zeros(2, 2), None)
    assert TableCopy.of(torch.zeros(4, 2)).changed(change) is None


def test_no_row_has_changed() -> None:
    table = torch.rand(4, 2)
    made = TableCopy.of(table.clone()).changed(ChangedRows.of(table, torch.tensor([], dtype=torch.int64)))
    assert made is not None
    assert torch.equal(made.table(), table)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """A table, and rows of it that change one after the other."""
    rows, width = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    row = st.lists(VALUES, min_size=width, max_size=width)
    changes = draw(st.lists(st.dictionaries(st.integers(0, rows - 1), row), max_size=5))
    table = torch.tensor(draw(st.lists(row, min_size=rows, max_size=rows)))
    numbers = [sorted(each) for each in changes]
    values = [[each[number] for number in own] for each, own in zip(changes, numbers, strict=True)]
    return table, [
        (torch.tensor(own, dtype=torch.int64), torch.tensor(new).view(-1, width))
        for own, new in zip(numbers, values, strict=True)
    ]


@given(histories(), st.booleans())
def test_a_copy_follows_its_changes_whether_it_is_large_or_small(
    history: tuple[Tensor, list[tuple[Tensor, Tensor]]], large: bool
) -> None:
    table, changes = history
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(table_copies, "LARGE_ROWS", 1 if large else 100)
        copy, earlier = TableCopy.of(table.clone()), []
        for rows, values in changes:
            earlier.append((copy, bits(table)))
            copy = copy.with_rows(rows, values)
            table.index_copy_(0, rows, values)
            assert bits(copy.table()) == bits(table)
            assert torch.equal(copy.checksum(), table_checksum(table))
            some = torch.arange(0, len(table), 2)
            assert bits(copy.rows_of(some)) == bits(table[some])
            assert large or not len(copy.own.rows)
        assert all(bits(before.table()) == expected for before, expected in earlier)
