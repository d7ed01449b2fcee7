"""One canonical text for all spellings of a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pfmsmtrec_flwr.data.schema.column_form import ColumnForm
from pfmsmtrec_flwr.data.schema.spelling import canonical, canonical_texts, written_twice

KEEP = ColumnForm(leading_zeros="keep")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("TRUE", "true"),
        ("False", "false"),
        ("", ""),
        (" ", ""),
        ("None", "None"),
        (2**70, str(2**70)),
        (1e300, "1e+300"),
    ],
)
def test_one_value(value: Any, expected: str) -> None:
    assert canonical(value) == expected


def test_leading_zeros() -> None:
    texts = pa.array(["007", "+07.0", "-07", "0", "-0", "07a", " 7 "])
    assert canonical_texts(texts).to_pylist() == ["7", "7", "-7", "0", "0", "07a", "7"]
    assert canonical_texts(texts, KEEP).to_pylist() == ["007", "07", "-07", "0", "0", "07a", "7"]


def test_whole_numbers_of_64_bits_are_alike_in_every_type() -> None:
    for number in (2**53, 2**60, -(2**62)):
        assert canonical(number) == canonical(float(number)) == str(number)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_fractions_are_alike_in_every_type(kind: pa.DataType) -> None:
    numbers = pa.array(np.array([0.1, 4.3, -0.75, 5.0, np.nan, 1e-5], kind.to_pandas_dtype()))
    assert canonical_texts(numbers).to_pylist() == ["0.1", "4.3", "-0.75", "5", None, "1e-05"]


def test_values_that_are_written_twice() -> None:
    assert written_twice(["a", 1, "b", "01"]) == (1, "01")
    assert written_twice(["a", 1, "b", "a"]) is None
    assert written_twice([1, "01"], KEEP) is None
