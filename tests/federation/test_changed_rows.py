from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
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
    made = ChangedRows.of(table, differs.nonzero().flatten()).applied_to(copy)
    assert made is not None
    assert bits(made) == bits(table)
    assert made is copy


@given(copies())
def test_a_row_that_is_missing_is_noticed(tables: tuple[Tensor, Tensor]) -> None:
    copy, table = tables
    rows = differing_rows(copy, table).nonzero().flatten()
    if len(rows):
        assert ChangedRows.of(table, rows[1:]).applied_to(copy) is None


@pytest.mark.parametrize("copy", [None, torch.zeros(2, 2), torch.zeros(4, 3), torch.zeros(5, 2), torch.zeros(8)])
def test_a_copy_of_another_shape_is_none(copy: Tensor | None) -> None:
    table = torch.zeros(4, 2)
    table[3] = 1.0
    assert ChangedRows.of(table, torch.tensor([3])).applied_to(copy) is None


def test_no_row_has_changed() -> None:
    table = torch.rand(4, 2)
    made = ChangedRows.of(table, torch.tensor([], dtype=torch.int64)).applied_to(table.clone())
    assert made is not None
    assert torch.equal(made, table)
