"""Numbers as people write them, and ids that were rounded when their file was written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pfmsmtrec_flwr.data.encode.written_numbers import plain_numbers, rounded_ids
from pfmsmtrec_flwr.data.schema.column_form import ColumnForm


@pytest.mark.parametrize(
    ("form", "texts", "expected"),
    [
        ({"thousands": "'"}, ["1'234.5", "1\u2019234'567"], ["1234.5", "1234567"]),
        ({"thousands": ".", "decimal": ","}, ["1.234,5", "1.234.567", "1.10.345"], ["1234.5", "1234567", None]),
        ({"thousands": ","}, ["1,234,567.8", "12,34,567", "1,2"], ["1234567.8", "1234567", None]),
        ({"signs": ["%", "pp"]}, ["12 %", "-3pp", "12 p", "%"], ["12", "-3", None, None]),
    ],
)
def test_plain_numbers(form: dict[str, object], texts: list[str], expected: list[str | None]) -> None:
    assert plain_numbers(pa.array(texts), ColumnForm.model_validate(form)).to_pylist() == expected


@pytest.mark.parametrize(
    ("texts", "rows"),
    [(["1.23E+15", "7"], 2), (["9007199254740993.0", "7"], 2), (["1.23E+05", "12345678901234567"], 0)],
)
def test_texts_of_rounded_ids(texts: list[str], rows: int) -> None:
    assert rounded_ids(pa.array(texts), np.array([0, 1, 0, -1])) == rows
