from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.federation.packed_numbers import packed, packed_rows, unpacked, unpacked_rows


@given(st.lists(st.integers(0, 2**35 - 1)))
def test_numbers_are_read_as_they_were(numbers: list[int]) -> None:
    data = packed(torch.tensor(numbers, dtype=torch.int64))
    assert data.dtype == torch.uint8
    assert unpacked(data).tolist() == numbers
    assert len(data) == sum(max(1, -(-number.bit_length() // 7)) for number in numbers)


@given(st.sets(st.integers(0, 2**31 - 1)))
def test_ascending_rows_are_read_as_they_were(rows: set[int]) -> None:
    numbers = torch.tensor(sorted(rows), dtype=torch.int64)
    assert torch.equal(unpacked_rows(packed_rows(numbers)), numbers)


@given(st.binary(max_size=20))
def test_any_bytes_are_numbers_or_refused(data: bytes) -> None:
    try:
        numbers = unpacked(torch.tensor(list(data), dtype=torch.uint8))
    except ValueError:
        return
    assert len(numbers) <= len(data)
    assert (numbers >= 0).all() and (numbers < 2**35).all()


@pytest.mark.parametrize(
    ("data", "said"), [([1, 128], "the last number has no end"), ([255] * 5 + [1], "a number has more than 5 bytes")]
)
def test_what_is_no_number_is_refused(data: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        unpacked(torch.tensor(data, dtype=torch.uint8))
