from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.row_sets import joined_rows, places_of_common, united_rows

Rows = set[int]
SETS = st.sets(st.integers(0, 12))


def tensor(rows: Rows) -> torch.Tensor:
    return torch.tensor(sorted(rows), dtype=torch.int64)


@given(SETS, SETS)
def test_row_sets_are_sets(one: Rows, other: Rows) -> None:
    first, second = places_of_common(tensor(one), tensor(other))
    assert tensor(one)[first].tolist() == tensor(other)[second].tolist() == sorted(one & other)
    assert united_rows(tensor(one), tensor(other)).tolist() == sorted(one | other)
    joined, first, second = joined_rows(tensor(one), tensor(other - one))
    assert joined.tolist() == sorted(one | other)
    assert joined[first].tolist() == sorted(one)
    assert joined[second].tolist() == sorted(other - one)


def test_a_set_that_has_all_rows_is_their_union() -> None:
    rows = tensor({1, 5, 7})
    assert united_rows(rows, tensor({5})) is rows
    assert united_rows(rows, tensor(set())) is rows
