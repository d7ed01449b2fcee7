"""Columns of a table to arrays of fixed width."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pfmsmtrec_flwr.data.encode.encoders import NO_HASH, hash_texts
from pfmsmtrec_flwr.data.prepare.columns import (
    NO_SCENARIO,
    NOT_FOUND,
    UNKNOWN,
    WRONG_LABEL,
    Output,
    key_output,
    outputs_of,
)
from pfmsmtrec_flwr.data.prepare.splits import ByKey, ByRow, HeldOutShares
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, NO_USER
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse

BY_ROW = ByRow(HeldOutShares(0.1, 0.1), 0)


def schema(**changes: Any) -> DatasetSchema:
    document: dict[str, Any] = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log.csv"]},
        "scenario": {"column": "country", "values": {1: "NL", "es": "ES", 3: "FR"}},
        "tasks": {"ctr": "click", "read": {"column": "seconds", "negative": [0, "none"], "positive": [1, 2]}},
        "users": "user",
        "split": {"random": {"validation": 0.1, "test": 0.1}},
        "fields": {
            "kind": {"values": ["a", "b"], "embedding": "federated", "missing": ["none"]},
            "hour": {"column": "time", "transform": "hour", "identity": {"size": 24}, "embedding": "federated"},
            "item": {"hash": {"buckets": 5, "seed": 3}, "embedding": "federated", "missing": [-124]},
            "tag": {"vocabulary": {}, "transform": "first", "embedding": "local"},
        },
        "numeric": {"price": {"column": "cents"}},
    }
    return parse(DatasetSchema, document | changes, "shop.yaml")


def chunk(header: tuple[str, ...] = (), **columns: list[Any]) -> Chunk:
    plain = {name: pa.array(values) for name, values in columns.items()}
    arrays = {  # text as the reader gives it
        name: pa.chunked_array([each.dictionary_encode() if pa.types.is_string(each.type) else each])
        for name, each in plain.items()
    }
    rows = len(next(iter(columns.values())))
    return Chunk(
        SourceFile("log.csv", Path("log.csv")),
        TableSection(files=("x",), header=header),
        lambda row: 1 + row,
        arrays,
        rows,
    )


def output(name: str, scenarios: tuple[str, ...] = ("ES", "NL"), **changes: Any) -> Output:
    return {each.name: each for each in outputs_of(schema(**changes), scenarios, BY_ROW)}[name]


def made(name: str, values: list[Any], **changes: Any) -> list[Any]:
    found = output(name, **changes)
    array = found.make(chunk((), **{found.column: values}))
    assert array.dtype == found.dtype
    found_values: list[Any] = array.tolist()
    return found_values


def hashes(*values: str, seed: int = 0) -> list[int]:
    hashes: list[int] = hash_texts(np.array(values, dtype=object), seed).tolist()
    return hashes


def test_all_that_is_made() -> None:
    found = [(each.name, each.column, each.dtype, each.number) for each in outputs_of(schema(), ["NL"], BY_ROW)]
    assert found == [
        ("scenario", "country", "int16", False),
        ("user", "user", "int64", False),
        ("label:ctr", "click", "uint8", False),
        ("label:read", "seconds", "uint8", False),
        ("field:kind", "kind", "int32", False),
        ("field:hour", "time", "int32", False),
        ("field:item", "item", "uint64", False),
        ("field:tag", "tag", "uint64", False),
        ("number:price", "cents", "float64", True),
    ]
    assert output("number:price").missing is np.nan
    missing = {each.name: each.missing for each in outputs_of(schema(), ["NL"], BY_ROW) if not each.number}
    assert missing == {
        "scenario": NOT_FOUND,
        "user": NO_USER,
        "label:ctr": MISSING_LABEL,
        "label:read": MISSING_LABEL,
        "field:kind": 0,
        "field:hour": 0,
        "field:item": NO_HASH,
        "field:tag": NO_HASH,
    }


def test_only_what_the_scenarios_have_is_made() -> None:
    changes = {
        "scenario": {"names": ["NL", "ES"]},
        "table": {"files": ["{scenario}.csv"]},
        "tasks": {"ctr": "click", "read": {"column": "seconds", "scenarios": ["ES"]}},
        "fields": {"kind": {"values": [1], "embedding": "local", "scenarios": ["ES"]}},
        "numeric": {"price": {"scenarios": ["ES"]}, "size": {"scenarios": ["NL"]}},
        "users": None,
    }
    rule = ByKey("page", HeldOutShares(0.1, 0.1), 0)
    found = {name: [each.name for each in outputs_of(schema(**changes), [name], rule)] for name in ("NL", "ES")}
    assert found == {
        "NL": ["split", "label:ctr", "number:size"],
        "ES": ["split", "label:ctr", "label:read", "field:kind", "number:price"],
    }


def test_the_split_of_a_key() -> None:
    rule = ByKey("page", HeldOutShares(0.3, 0.3), 0)
    (found,) = [each for each in outputs_of(schema(), ["NL"], rule) if each.name == "split"]
    rows = chunk(page=[*"abcdefgh"])
    assert (found.column, found.dtype) == ("page", "int8")
    np.testing.assert_array_equal(found.make(rows), rule.codes(rows))


@pytest.mark.parametrize("values", [["es", "1", "3", " 01"], pa.array(["es", "1", "3", "1.0"]).dictionary_encode()])
def test_scenarios_by_their_place(values: Any) -> None:
    assert made("scenario", values) == [0, 1, NO_SCENARIO, 1]


def test_other_scenario_values_are_refused_or_dropped() -> None:
    message = r"^log\.csv, line {}, column 'country': got {}, expected one of 1, es, 3 \(or scenario\.others: drop\){}$"
    with pytest.raises(UserError, match=message.format(2, "'4'", "")):
        made("scenario", ["1", "4"])
    with pytest.raises(UserError, match=message.format(3, "an empty value", "")):
        made("scenario", ["1", "es", None])
    hint = r": does the file begin with a header line\? It must not"
    with pytest.raises(UserError, match=message.format(1, "'country'", hint)):
        output("scenario").make(chunk(("country",), country=["country", "1"]))
    drop = schema().scenario.model_dump() | {"others": "drop"}
    assert made("scenario", ["1", "4", None], scenario=drop) == [1, NO_SCENARIO, NO_SCENARIO]


def test_labels() -> None:
    assert made("label:ctr", ["1", "0", "01", "1.0", "2", "", "yes"]) == [
        *(1, 0, 1, 1, WRONG_LABEL, MISSING_LABEL, WRONG_LABEL)
    ]
    assert made("label:ctr", [1.0, 0.0, 0.5, None]) == [1, 0, WRONG_LABEL, MISSING_LABEL]
    assert made("label:read", ["none", "2", "1", "3"]) == [0, 1, 1, WRONG_LABEL]
    assert made("label:ctr", []) == []


def test_users_are_63_bits_of_a_hash() -> None:
    assert made("user", ["a", None, "5.0"]) == [hashes("a")[0] >> 1, NO_USER, hashes("5")[0] >> 1]


def test_fields_with_declared_values() -> None:
    assert made("field:kind", ["b", "a", "c", "none", None, " a"]) == [2, 1, UNKNOWN, 0, 0, 1]
    assert made("field:hour", ["2359", "5", "2460", None]) == [24, 1, UNKNOWN, 0]


def test_fields_of_hashes_keep_every_bit() -> None:
    assert made("field:item", ["a", "-124", None, "5.0", "a"]) == [
        *hashes("a", seed=3),
        NO_HASH,
        NO_HASH,
        *hashes("5", "a", seed=3),
    ]
    assert made("field:tag", ["a,b", ",b", "c"]) == [hashes("a")[0], NO_HASH, hashes("c")[0]]
    assert key_output("id").make(chunk(id=["x", None])).tolist() == [hashes("x")[0], NO_HASH]


def test_numbers() -> None:
    nan = pytest.approx(np.nan, nan_ok=True)
    price = {"column": "cents", "missing": [-1], "clip": [0, 100], "transform": "log1p"}
    got = made("number:price", [-1.0, -5.0, 99.0, 1e9, None, np.inf, -np.inf], numeric={"price": price})
    assert got == pytest.approx([nan, 0.0, np.log1p(99), np.log1p(100), nan, nan, nan], nan_ok=True)
    assert made("number:price", ["1.5", None, " 7", "7"]) == [1.5, nan, 7.0, 7.0]


def in_form(form: dict[str, Any], values: list[Any]) -> Chunk:
    """Rows of one column 'cents' in a form of its own."""
    table = TableSection.model_validate({"files": ["log.csv"], "columns": {"cents": form}})
    return replace(chunk(cents=values), table=table)


@pytest.mark.parametrize(
    ("form", "values", "expected"),
    [
        ({"decimal": ","}, ["1,5", "-2", " 3,25 ", None, "NA"], [1.5, -2.0, 3.25, None, None]),
        ({"decimal": ",", "thousands": "."}, ["1.000", "1.234.567,5", "007"], [1000.0, 1234567.5, 7.0]),
        ({"thousands": ","}, ["1,234.5", "1,23,456", "12", "1e3"], [1234.5, 123456.0, 12.0, 1000.0]),
        ({"thousands": " "}, ["1 234", "1\u00a0234", "1\u202f234"], [1234.0] * 3),
        (
            {"signs": ["€", "EUR", "%"]},
            ["€5", "5 EUR", "-€ 5", "€-5", "−5%", ".5 %"],
            [5.0, 5.0, -5.0, -5.0, -5.0, 0.5],
        ),
        ({"decimal": ","}, [1.5, None], [1.5, None]),  # numbers of a Parquet file
        ({"missing": ["unknown", -1]}, ["unknown", "-1.0", "null", "2"], [None, None, None, 2.0]),
    ],
)
def test_numbers_in_the_form_of_their_column(
    form: dict[str, Any], values: list[Any], expected: list[float | None]
) -> None:
    found = output("number:price").make(in_form(form, values)).tolist()
    assert [None if np.isnan(number) else number for number in found] == expected


@pytest.mark.parametrize(
    ("form", "value", "message"),
    [
        ({"decimal": ",", "thousands": "."}, "1.5", "got '1.5', expected a number such as 1.234,5"),
        ({"thousands": ","}, "1,5", "got '1,5', expected a number such as 1,234.5"),
        ({"decimal": ","}, "12.5", "got '12.5', expected a number such as 1234,5"),
        ({"signs": ["$"]}, "5 €", "got '5 €', expected a number such as 1234.5 $"),
        ({}, "1.234,50", "got '1.234,50', expected a number: is it written so? State it in table.columns: decimal"),
        ({}, "5 €", "got '5 €', expected a number: is it written so?"),
        ({}, "cheap", "got 'cheap', expected a number"),
    ],
)
def test_numbers_of_another_form(form: dict[str, Any], value: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"^log\.csv, line 2, column 'cents': {re.escape(message)}"):
        output("number:price").make(in_form(form, ["7", value]))


def test_words_for_a_missing_number_of_one_numeric_column() -> None:
    price = {"column": "cents", "missing": [-1, "unknown", "-2"]}
    found = output("number:price", numeric={"price": price})
    assert not found.number  # read as text, since numbers have no words
    assert (
        found.make(chunk(cents=["unknown", "-1", "-2.0", "NA", "3"])).tolist()[:4]
        == [pytest.approx(np.nan, nan_ok=True)] * 4
    )
    with pytest.raises(UserError, match=r"line 1, column 'cents': got 'unknown', expected a number$"):
        output("number:price").make(chunk(cents=["unknown"]))


def test_a_form_holds_for_whatever_a_column_is_used_for() -> None:
    fields = {
        "cents": {"identity": {"size": 2000}, "embedding": "federated"},
        "band": {"column": "cents", "bands": [1000], "embedding": "federated"},
    }
    tasks = {"dear": {"column": "cents", "at_least": 1000}}
    labels: dict[str, Any] = {"tasks": tasks, "numeric": {}}
    changes: dict[str, Any] = {"fields": fields, "numeric": {}}
    rows = in_form({"decimal": ",", "thousands": "."}, ["1.000,00", "999,5", "NA", None])
    assert output("field:cents", **changes).make(rows).tolist() == [1001, UNKNOWN, 0, 0]
    assert output("field:band", **changes).make(rows).tolist() == [2, 1, 0, 0]
    assert output("label:dear", **labels).make(rows).tolist() == [1, 0, MISSING_LABEL, MISSING_LABEL]


ZEROS = {"files": ["log.csv"], "columns": {name: {"leading_zeros": "keep"} for name in ("country", "zip", "click")}}


def test_leading_zeros_are_kept_where_the_schema_says_so() -> None:
    changes: dict[str, Any] = {
        "table": ZEROS,
        "scenario": {"column": "country", "values": {1: "NL", "01": "ES"}},
        "tasks": {"ctr": {"column": "click", "positive": ["01"], "negative": [1]}},
        "fields": {
            "zip": {"values": ["01", 1, "+1.0x"], "embedding": "federated"},
            "part": {"column": "zip", "transform": "first", "hash": {"buckets": 5}, "embedding": "federated"},
            "parts": {
                "column": "zip",
                "several": {"separator": ",", "most": 2},
                "values": ["01", "1"],
                "embedding": "federated",
            },
        },
    }
    table = TableSection.model_validate(ZEROS)
    rows = replace(
        chunk(country=["1", "01", " 01 ", "1.0"], zip=["01", "1", "01,1", "001"], click=["1", "01", "1", "01"]),
        table=table,
    )
    assert output("scenario", **changes).make(rows).tolist() == [1, 0, 0, 1]
    assert output("label:ctr", **changes).make(rows).tolist() == [0, 1, 0, 1]
    assert output("field:zip", **changes).make(rows).tolist() == [1, 2, UNKNOWN, UNKNOWN]
    assert output("field:part", **changes).make(rows).tolist() == hashes("01", "1", "01", "001")
    assert output("field:parts", **changes).make(rows).tolist() == [[1, 0], [2, 0], [1, 2], [UNKNOWN, 0]]


def test_labels_that_are_true_and_false_in_any_case() -> None:
    assert made("label:ctr", ["True", "FALSE", "true", "1", "0"]) == [1, 0, 1, 1, 0]
    assert made("label:ctr", [True, False]) == [1, 0]


def test_rounded_ids_are_counted() -> None:
    rows = chunk(item=[2.0**53, 1.0, 3e18, None], user=["9007199254740994.0", "1.2e+18", "1.23E+15", "7"])
    rows.coded("item")
    rows.coded("user")
    assert rows.rounded(["item", "user"]) == {"item": 2, "user": 3}
    whole = chunk(item=[2**60, 1], user=["1234567890123456789", "1e5"])
    whole.coded("item")
    whole.coded("user")
    assert whole.rounded(["item", "user"]) == {}


def test_numbers_that_cannot_be_used() -> None:
    with pytest.raises(UserError, match=r"^log\.csv, line 3, column 'cents': got 'x', expected a number$"):
        made("number:price", ["1", None, "x", "y"])
    logs = {"price": {"column": "cents", "transform": "log1p"}}
    message = r"^log\.csv, line 2, column 'cents': got '-2\.0', but log1p needs values from 0: name it in missing"
    with pytest.raises(UserError, match=message):
        made("number:price", [1.0, -2.0], numeric=logs)


BANDS = {"scenario": {"column": "age", "bands": [25, 35.5]}}


def test_scenarios_from_bands_of_a_number() -> None:
    assert schema(**BANDS).scenarios == ("age-from-25", "age-from-35.5", "age-under-25")
    large = schema(scenario={"column": "_user's age", "bands": [1_000_000, 1e18]})
    assert large.scenarios == ("user-s-age-from-1000000", "user-s-age-from-1e18", "user-s-age-under-1000000")
    names = ["age-under-25", "age-from-35.5"]
    (found,) = [each for each in outputs_of(schema(**BANDS), names, BY_ROW) if each.name == "scenario"]
    rows = chunk(age=["24", "25", "35", "35.5", "90", "-1"])
    assert found.make(rows).tolist() == [0, NO_SCENARIO, NO_SCENARIO, 1, 1, 0]
    with pytest.raises(UserError, match="line 2, column 'age': got an empty value, expected a number, for the scenar"):
        found.make(chunk(age=["24", None]))


def test_rows_without_a_band_may_be_dropped() -> None:
    dropping = schema(scenario=BANDS["scenario"] | {"others": "drop"})
    (found,) = [each for each in outputs_of(dropping, ["age-under-25"], BY_ROW) if each.name == "scenario"]
    assert found.make(chunk(age=[None, "3"])).tolist() == [NO_SCENARIO, 0]


def test_labels_from_a_threshold() -> None:
    tasks = {"like": {"column": "rating", "at_least": 4}, "love": {"column": "rating", "at_least": 4.5}}
    found = [each for each in outputs_of(schema(tasks=tasks), ["NL"], BY_ROW) if each.name.startswith("label")]
    rows = chunk(rating=[3.9, 4.0, 5.0, None])
    assert [each.make(rows).tolist() for each in found] == [[0, 1, 1, MISSING_LABEL], [0, 0, 1, MISSING_LABEL]]


def test_parts_of_a_time() -> None:
    fields = {
        part: {"column": "at", "transform": part, "identity": {"size": 40}, "missing": [0], "embedding": "local"}
        for part in ("hour", "weekday", "day")
    }
    changes = {"times": {"at": {"form": "iso"}}, "fields": fields}
    values = ["2024-01-31 23:59:59", None, "0", "2024-02-05"]
    assert made("field:hour", values, **changes) == [24, 0, 0, 1]
    assert made("field:weekday", values, **changes) == [3, 0, 0, 1]
    assert made("field:day", values, **changes) == [32, 0, 0, 6]
    with pytest.raises(UserError, match=r"line 2, column 'at': got '2024-02-31', expected a time as the others"):
        made("field:day", ["2024-01-31", "2024-02-31"], **changes)


@pytest.mark.parametrize("value", ["2024-01-31 23:59:59", "23:59", "1700000000"])
def test_the_hour_of_a_time_whose_form_is_not_declared(value: str) -> None:
    with pytest.raises(
        UserError, match=rf"column 'time': got '{value}', expected a number such as 2359: name it in missing, or"
    ):
        made("field:hour", ["2359", value])
