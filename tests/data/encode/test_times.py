"""Points in time: every form, what has none, days, and parts such as the hour."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pfmsmtrec_flwr.data.encode.encoders import Texts, coded
from pfmsmtrec_flwr.data.encode.times import (
    NO_DAY,
    day_text,
    days_of,
    example_of,
    fitting_forms,
    part_of,
    points_of,
)
from pfmsmtrec_flwr.data.schema.time_section import FORMS, TimeForm, TimeSection


def texts(*values: str) -> Texts:
    return np.array(values, dtype=object)


def points(form: TimeForm, *values: str, zone: str | None = None) -> list[str]:
    return [str(point)[:23] for point in points_of(texts(*values), TimeSection(form=form, zone=zone))]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("iso", "2024-02-29", "2024-02-29T00:00:00.000"),
        ("iso", "2024-02-29 23:59:58.123456789", "2024-02-29T23:59:58.123"),
        ("iso", "2024-02-29T23:59:58,5", "2024-02-29T23:59:58.500"),
        ("iso", "2024-02-29T23", "2024-02-29T23:00:00.000"),
        ("iso-zone", "2024-02-29T23:59:58Z", "2024-02-29T23:59:58.000"),
        ("iso-zone", "2024-02-29 23:59:58+02:00", "2024-02-29T21:59:58.000"),
        ("iso-zone", "2024-02-29 23:59:58.5-0100", "2024-03-01T00:59:58.500"),
        ("iso-zone", "2024-02-29 23:59:58 UTC", "2024-02-29T23:59:58.000"),
        ("YYYY/MM/DD", "2024/02/29", "2024-02-29T00:00:00.000"),
        ("YYYY.MM.DD", "2024.02.29 10:00", "2024-02-29T10:00:00.000"),
        ("DD.MM.YYYY", "29.02.2024", "2024-02-29T00:00:00.000"),
        ("DD-MM-YYYY", "29-02-2024", "2024-02-29T00:00:00.000"),
        ("DD/MM/YYYY", "03/02/2024", "2024-02-03T00:00:00.000"),
        ("MM/DD/YYYY", "03/02/2024 13:05", "2024-03-02T13:05:00.000"),
        ("YYYYMMDD", "20240229", "2024-02-29T00:00:00.000"),
        ("YYYYMMDDHH", "2024022923", "2024-02-29T23:00:00.000"),
        ("YYYYMMDDHHMM", "202402292359", "2024-02-29T23:59:00.000"),
        ("YYYYMMDDHHMMSS", "20240229235958", "2024-02-29T23:59:58.000"),
        ("YYMMDDHH", "14102123", "2014-10-21T23:00:00.000"),
        ("YYMMDDHH", "1102123", "2001-10-21T23:00:00.000"),
        ("seconds", "1700000000", "2023-11-14T22:13:20.000"),
        ("seconds", "1700000000.5", "2023-11-14T22:13:20.500"),
        ("microseconds", "1704067199999999.75", "2023-12-31T23:59:59.999"),
        ("seconds", "1.7e9", "2023-11-14T22:13:20.000"),
        ("milliseconds", "1700000000500", "2023-11-14T22:13:20.500"),
        ("microseconds", "1700000000500000", "2023-11-14T22:13:20.500"),
        ("nanoseconds", "1700000000500000000", "2023-11-14T22:13:20.500"),
        ("nanoseconds", "1700006399999999999", "2023-11-14T23:59:59.999"),
    ],
)
def test_a_time_of_each_form(form: TimeForm, text: str, expected: str) -> None:
    assert points(form, text, "", "x") == [expected, "NaT", "NaT"]


@pytest.mark.parametrize("form", FORMS[:-1])
def test_the_example_of_a_form_has_no_other_one(form: TimeForm) -> None:
    assert next(iter(fitting_forms(texts(example_of(form))))) == form
    assert days_of(texts(example_of(form)), TimeSection(form=form)).tolist() == [19753]


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("iso", ["2024-13-01", "2023-02-29", "2024-00-10", "2024-1-1", "20240101", "2024-01-01 24:00", "2024/01/01"]),
        ("iso", ["2024-01-01Z", "2024-01-01 10:00:00+01:00", "0001-01-01", "9999-12-31", "0000-00-00", "2024-01-01 "]),
        ("iso-zone", ["2024-01-01", "2024-01-01 10:00:00", "2024-01-01 10:00:00 CET"]),
        ("YYYYMMDD", ["20241301", "20240132", "20240001", "2024010", "8", "12", "31", "2024-01-01", "99991231"]),
        ("YYMMDDHH", ["14102124", "14132123", "20240131", "2410212", "8"]),
        ("DD.MM.YYYY", ["30.02.2024", "1.2.2024", "2024.02.01", "01/02/2024"]),
        ("seconds", ["1700000000000", "0", "-1", "20240131", "1e8x", "inf"]),
        ("seconds", ["99999999", "4200000000"]),
        ("milliseconds", ["1700000000", "1700000000000000"]),
    ],
)
def test_what_is_no_time_of_a_form(form: TimeForm, values: list[str]) -> None:
    assert set(points(form, *values)) == {"NaT"}
    assert set(days_of(texts(*values), TimeSection(form=form))) == {NO_DAY}


def test_days_and_hours_are_those_of_the_zone() -> None:
    assert points("seconds", "1700002800", zone="Europe/Amsterdam") == ["2023-11-15T00:00:00.000"]
    assert points("iso-zone", "2024-07-01T23:30:00-05:00", zone="Europe/Amsterdam") == ["2024-07-02T06:30:00.000"]
    assert days_of(
        texts("1700002799", "1700002800"), TimeSection(form="seconds", zone="Europe/Amsterdam")
    ).tolist() == [
        19675,
        19676,
    ]


def test_days_as_they_are_written() -> None:
    assert [day_text(19753, TimeSection(form=form)) for form in ("iso", "YYYYMMDD", "YYYY/MM/DD", "seconds")] == [
        "2024-01-31",
        "20240131",
        "2024/01/31",
        "2024-01-31",
    ]
    assert day_text(8, TimeSection(form="number")) == "8"
    assert days_of(texts("8", "-1", "8.5", "2024-01-01"), TimeSection(form="number")).tolist() == [8, *[NO_DAY] * 3]


def test_parts_of_a_time() -> None:
    found = points_of(texts("2024-01-31 23:59:59", "2024-02-04", "x"), TimeSection(form="iso"))
    parts = {part: part_of(found, part).tolist()[:2] for part in ("hour", "weekday", "day", "year")}
    assert parts == {"hour": ["23", "0"], "weekday": ["2", "6"], "day": ["31", "4"], "year": ["2024", "2024"]}


@pytest.mark.parametrize(
    ("values", "forms"),
    [
        (["20121231"], ["YYYYMMDD"]),
        (["20120115"], ["YYYYMMDD", "YYMMDDHH"]),
        (["14102100", "14102101"], ["YYMMDDHH"]),
        (["01/02/2024"], ["DD/MM/YYYY", "MM/DD/YYYY"]),
        (["15032023"], []),  # 15 March 2023, not 20 March 2015 at 23
        (["1032023", "1042023"], []),
        (["010203"], []),
        (["8", "31"], []),
        (["2024013123"], ["YYYYMMDDHH", "seconds"]),
        ([], []),
    ],
)
def test_forms_that_values_may_have(values: list[str], forms: list[str]) -> None:
    assert list(fitting_forms(texts(*values))) == forms


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (pa.timestamp("ns"), "iso"),
        (pa.timestamp("s"), "iso"),
        (pa.date32(), "iso"),
        (pa.timestamp("us", "UTC"), "iso-zone"),
        (pa.timestamp("ms", "Europe/Amsterdam"), "iso-zone"),
    ],
)
def test_typed_times_of_parquet_are_iso_8601(kind: pa.DataType, form: TimeForm) -> None:
    column = pa.array([pd.Timestamp("2024-01-31 00:00:00"), None]).cast(kind)
    values = coded(column).values
    assert next(iter(fitting_forms(values[:1]))) == form
    assert days_of(values[:1], TimeSection(form=form)).tolist() == [19753]
