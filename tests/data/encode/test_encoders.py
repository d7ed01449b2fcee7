"""One value, one text, one hash, one row, on every machine."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.data.encode.encoders import (
    NO_HASH,
    CodedColumn,
    Encoder,
    Identity,
    coded,
    declared_encoder,
    hash_texts,
    is_one_of,
    transformed,
    without,
)
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection, VocabularySection
from pfmsmtrec_flwr.data.schema.spelling import canonical


def encode(column: CodedColumn, encoder: Encoder) -> np.ndarray:
    return column.lookup(encoder.rows(column.values), 0)


def texts(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


def spread(array: pa.Array) -> list[str | None]:
    column = coded(array)
    return [None if index < 0 else column.values[index] for index in column.index]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([5, 0, -3, None]), ["5", "0", "-3", None]),
        (pa.array([5.0, -0.0, 7.5, None, float("nan")]), ["5", "0", "7.5", None, None]),
        (pa.array([2.0**53, 1e300]), ["9007199254740992", "1e+300"]),
        (pa.array(["5", " 5", "005", "+5", "5.0", "5."]), ["5"] * 6),
        (pa.array(["-0", "-03.00", "", "  ", "5a", "5.5", "a b "]), ["0", "-3", None, None, "5a", "5.5", "a b"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([], type=pa.string()), []),
    ],
)
def test_canonical_text(array: pa.Array, expected: list[str | None]) -> None:
    assert spread(array) == expected


@given(st.lists(st.one_of(st.none(), st.integers(-(2**52), 2**52)), min_size=1))
def test_a_number_is_encoded_alike_whatever_type_it_was_read_with(numbers: list[int | None]) -> None:
    as_float = pa.array([None if n is None else float(n) for n in numbers], type=pa.float64())
    as_text = pa.array([None if n is None else str(n) for n in numbers], type=pa.string())
    as_int = pa.array(numbers, type=pa.int64())
    expected = [NO_HASH if n is None else int(hash_texts(texts(str(n)), 7)[0]) for n in numbers]
    for array in (as_int, as_float, as_text, as_text.dictionary_encode(), pa.chunked_array([as_int])):
        column = coded(array)
        assert column.lookup(hash_texts(column.values, 7), NO_HASH).tolist() == expected


def test_hash_is_pinned() -> None:
    """These numbers are part of the format: prepared stores of different sites must agree for ever."""
    assert hash_texts(texts("a", "5", "ü"), 0).tolist() == [
        15049453508330490149,
        3821769840770247453,
        11567564551021835987,
    ]
    assert hash_texts(texts("a"), 1).tolist() == [4656716019143093635]


def test_hash_does_not_depend_on_the_process() -> None:
    code = (
        "import numpy as np; from pfmsmtrec_flwr.data.encode.encoders import hash_texts; "
        "print(hash_texts(np.array(['a'], dtype=object), 0)[0])"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        )
        assert done.stdout.strip() == "15049453508330490149"


def test_a_hash_is_never_that_of_a_missing_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd.util, "hash_array", lambda values, **_: np.zeros(len(values), dtype=np.uint64))
    assert hash_texts(texts("a", "b"), 0).tolist() == [1, 1]


def test_a_lookup_keeps_every_bit() -> None:
    column = coded(pa.array(["a", None, "b", "a"]))
    assert column.lookup(np.array([2**64 - 1, 2**53 + 1], dtype=np.uint64), 0).tolist() == [
        2**64 - 1,
        0,
        2**53 + 1,
        2**64 - 1,
    ]
    assert column.lookup(np.array([True, False]), False).tolist() == [True, False, False, True]
    assert column.counts().tolist() == [2, 1]


def test_identity() -> None:
    assert Identity(5).rows(texts("0", "4", "5", "-1", "x", "2.5", "")).tolist() == [1, 5, 0, 0, 0, 0, 0]
    assert Identity(5).size == 6


def test_declared_values() -> None:
    spec = FieldSection(values=("b", 5, "5.0", "a"), embedding="federated")
    encoder = declared_encoder(spec)
    assert encoder is not None
    assert encoder.size == 4  # 5 and 5.0 are one value
    assert encoder.rows(texts("a", "5", "b", "c")).tolist() == [3, 2, 1, 0]
    assert declared_encoder(FieldSection(vocabulary=VocabularySection(), embedding="local")) is None


def test_bands() -> None:
    encoder = declared_encoder(FieldSection(bands=(10, 15.5, 20), embedding="federated"))
    assert encoder is not None
    assert encoder.size == 5
    assert encoder.rows(texts("-3", "9.9", "10", "15.5", "19", "20", "1e9", "x", "")).tolist() == [
        1,
        1,
        2,
        3,
        3,
        4,
        4,
        0,
        0,
    ]


def test_sentinels_become_missing() -> None:
    column = without(coded(pa.array(["-124", "1", "-124.0", "x"])), (-124,))
    assert column.index.tolist() == [-1, 1, -1, 3]
    assert encode(column, Identity(2)).tolist() == [0, 2, 0, 0]


@pytest.mark.parametrize(
    ("kind", "given_values", "expected"),
    [
        ("hour", [0, 5, 59, 100, 859, 1200, 2359, None], ["0", "0", "0", "1", "8", "12", "23", None]),
        ("first", ["3,7", "12", " 4 ,1", ",5", None], ["3", "12", "4", None, None]),
        (
            "number",
            ["34", ' 34"', "7.50 EUR", "-3", "from 025 to 40", "none", None],
            ["34", "34", "7.50", "-3", "25", None, None],
        ),
        ("year", ["01-Jan-1995", "1995-01-31", "19950131", " 1995 ", "95", None], ["1995"] * 4 + [None] * 2),
        ("lower", ["Amy TAN", "É", "5.0", None], ["amy tan", "é", "5", None]),
        ("none", ["3,7"], ["3,7"]),
    ],
)
def test_transforms(kind: str, given_values: list[Any], expected: list[str | None]) -> None:
    column = transformed(coded(pa.array(given_values)), kind)
    assert [None if index < 0 else column.values[index] for index in column.index] == expected


@pytest.mark.parametrize(("value", "expected"), [(5, "5"), (5.0, "5"), ("05", "5"), ("(0,10]", "(0,10]")])
def test_canonical_of_one_value(value: Any, expected: str) -> None:
    assert canonical(value) == expected


def test_no_bit_of_a_hash_is_lost_on_the_way_to_the_rows() -> None:
    column = coded(pa.array(["a", None, "b"]))
    hashes = hash_texts(column.values, 0)
    assert column.lookup(hashes, NO_HASH).tolist() == [int(hashes[0]), 0, int(hashes[1])]
    assert column.lookup(hashes, NO_HASH).dtype == np.uint64


def test_one_long_text_does_not_widen_all_others() -> None:
    values = texts("x" * 1_000_000, *map(str, range(20_000)))  # as fixed-width text: 80 GB
    assert is_one_of(values, ["7", "y"]).sum() == 1
