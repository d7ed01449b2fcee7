"""The form of a column of times is declared or found, and every value has it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pfmsmtrec_flwr.data.prepare.clocks import Clock, clock_of
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.data.schema.time_section import TimeForm, TimeSection
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse


def schema(times: dict[str, Any]) -> DatasetSchema:
    document = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log.csv"]},
        "scenario": {"names": ["NL"]},
        "tasks": {"ctr": "click"},
        "times": times,
        "split": {"by_date": {"column": "at", "last_days": {}}},
        "fields": {"item": {"values": [1], "embedding": "local"}},
    }
    return parse(DatasetSchema, document, "shop.yaml")


def chunk(*values: Any, kind: pa.DataType | None = None) -> Chunk:
    column = pa.array(values, type=kind or pa.string())
    typed = column.dictionary_encode() if kind is None else column
    columns = {"at": pa.chunked_array([typed])}
    return Chunk(
        SourceFile("log.csv", Path("log.csv")), TableSection(files=("x",)), lambda row: 2 + row, columns, len(values)
    )


def found(*chunks: Chunk) -> TimeForm:
    def read(column: str) -> Generator[Chunk, None, None]:
        assert column == "at"
        yield from chunks

    return clock_of(schema({}), "at", read).section.form


def test_a_declared_form_is_taken_without_reading() -> None:
    def read(column: str) -> Generator[Chunk, None, None]:
        raise AssertionError(column)

    section = TimeSection(form="seconds", zone="Europe/Amsterdam")
    assert clock_of(schema({"at": section.model_dump()}), "at", read) == Clock("at", section)


def test_a_form_is_found_in_the_first_rows_with_a_value() -> None:
    assert found(chunk(None, ""), chunk(None, "2024-01-31 10:00:00", "2024-01-31"), chunk("x")) == "iso"
    assert found(chunk("20120115", "20121223")) == "YYYYMMDD"
    assert found(chunk("14102100", "14102101")) == "YYMMDDHH"
    assert found(chunk("01/02/2024", "13/02/2024")) == "DD/MM/YYYY"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2024/01/01", "2024/01/02", "2024-01-03"], "line 4, column 'at': got '2024-01-03', expected a time as the "
         "others, in the form YYYY/MM/DD, such as 2024/01/31"),
        (["20240131", "20241301"], "line 3, column 'at': got '20241301', expected a time as the others, in the form "
         "YYYYMMDD, such as 20240131"),
        (["1700000000", "1700000000123", "1700000001"], "line 3, column 'at': got '1700000000123', expected a time as "
         "the others, in the form seconds, such as 1706745599"),
        (["2024-01-31T10:00:00Z", "2024-01-31T10:00:01Z", "2024-01-31T10:00:02"], "line 4, column 'at': got "
         "'2024-01-31T10:00:02', expected a time as the others, in the form iso-zone, such as 2024-01-31T23:59:59Z"),
        ([None, "8", "31"], "line 3, column 'at': got '8', expected a day or a time such as 2024-01-31, 20240131 or "
         "1706745599, no day of the month; a number that counts on needs times: {at: {form: number}}"),
        (["01/02/2024", "02/03/2024"], "line 2, column 'at': got '01/02/2024', day or month first? The schema must say "
         "it: times: {at: {form: DD/MM/YYYY}}"),
    ],
)  # fmt: skip
def test_a_form_that_is_not_found(values: list[str | None], message: str) -> None:
    with pytest.raises(UserError) as error:
        found(chunk(*values))
    assert str(error.value) == f"log.csv, {message}"


def test_a_column_without_a_value_has_no_form() -> None:
    with pytest.raises(UserError, match=r"^column 'at' has no value in any row, expected a day or a time"):
        found(chunk(None))


@pytest.mark.parametrize(
    ("form", "values", "kind", "order"),
    [
        ("seconds", ["1700000000.25", None, "1700000000"], None, [1700000000.25, np.nan, 1700000000.0]),
        ("seconds", [1700000000.25, None], pa.float64(), [1700000000.25, np.nan]),
        ("number", [3.5, -1.0], pa.float64(), [3.5, -1.0]),
        ("iso", ["1970-01-02", None, "1970-01-01 00:00:00.000001"], None, [86_400e6, np.nan, 1.0]),
    ],
)
def test_numbers_that_rise_with_time(
    form: TimeForm, values: list[Any], kind: pa.DataType | None, order: list[float]
) -> None:
    np.testing.assert_array_equal(Clock("at", TimeSection(form=form)).order(chunk(*values, kind=kind)), order)


@pytest.mark.parametrize(("wrong", "kind"), [(1700000000123.0, pa.float64()), ("1700000000123", None)])
def test_numbers_in_another_unit_are_refused(wrong: Any, kind: pa.DataType | None) -> None:
    rows = chunk(type(wrong)(1700000000), wrong, kind=kind)
    with pytest.raises(UserError, match=r"^log\.csv, line 3, column 'at': got '1700000000123.*', expected a time as"):
        Clock("at", TimeSection(form="seconds")).order(rows)
