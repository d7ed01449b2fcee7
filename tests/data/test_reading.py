"""Readers: several files in order, joins, quoting, and errors that name file, line, column and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pfmsmtrec_flwr.data import reading
from pfmsmtrec_flwr.data.reading import Columns, Reader
from pfmsmtrec_flwr.data.schema import DatasetSchema
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse

COLUMNS = Columns(("user", "kind"), ("price", "age"))


def schema(**changes: Any) -> DatasetSchema:
    document: dict[str, Any] = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log*"]} | changes.pop("table", {}),
        "joins": [{"files": ["users.csv"], "key": "user", "key_there": "id"} | changes.pop("join", {})],
        "scenario": {"column": "country", "values": {1: "NL"}},
        "tasks": {"ctr": "click"},
        "split": {"by_user": {"validation": 0.1, "test": 0.1}},
        "users": "user",
        "fields": {"kind": {"values": [1], "embedding": "local"}},
    }
    return parse(DatasetSchema, document | changes, "shop.yaml")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "log1.csv").write_text('user,unused,kind,price\n7,x,"a,""b""",1.5\n8,x,,\n')
    (tmp_path / "log2.csv").write_text("price,kind,user\n3,c,9\n")
    (tmp_path / "users.csv").write_text("id,age\n9,40\n07,20\n1,1\n")
    return tmp_path


def read(source: Path, columns: Columns = COLUMNS, **changes: Any) -> dict[str, list[Any]]:
    got: dict[str, list[Any]] = {name: [] for name in columns.all()}
    for chunk in Reader(schema(**changes), source, columns).chunks("reading"):
        for name in columns.texts:
            column = chunk.coded(name)
            got[name] += column.lookup(column.values, None).tolist()
        for name in columns.numbers:
            got[name] += [None if np.isnan(number) else number for number in chunk.numbers(name).tolist()]
    return got


def test_all_files_in_order_columns_by_name_quoted_missing_and_joined(source: Path) -> None:
    assert read(source) == {
        "user": ["7", "8", "9"],
        "kind": ['a,"b"', None, "c"],
        "price": [1.5, None, 3.0],
        "age": [20.0, None, 40.0],
    }


def test_chunks_do_not_change_what_is_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "log2.csv").unlink()
    lines = [f"{7 + number % 3},x,{number},{number}" for number in range(300)]
    (source / "log1.csv").write_text("\n".join(["user,unused,kind,price", *lines]))
    whole = read(source)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 300)
    assert len(list(Reader(schema(), source, COLUMNS).chunks("reading"))) > 5
    assert read(source) == whole


def test_parquet_gives_the_same_with_other_types(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(source)
    for file in source.glob("log*"):
        file.unlink()
    table = {"user": [7.0, 8.0, 9.0], "kind": ['a,"b"', None, "c"], "price": [1.5, None, 3.0], "unused": [0, 0, 0]}
    pq.write_table(pa.table(table), source / "log.parquet")
    monkeypatch.setattr(reading, "PARQUET_ROWS", 2)
    assert read(source) == expected


def test_delimiter_quote_header_and_missing_text(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("7\t'a\tb'\t\\N\n")
    table = {"delimiter": "\t", "quote": "'", "header": ["user", "kind", "price"], "missing": ["\\N"]}
    got = read(tmp_path, Columns(("user", "kind"), ("price",)), table=table, joins=[])
    assert got == {"user": ["7"], "kind": ["a\tb"], "price": [None]}


def test_a_line_end_within_quotes_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b'\xef\xbb\xbfuser,kind\r\n7,"a\nb"\r\n8,c\r\n')
    assert read(tmp_path, Columns(("user", "kind")), joins=[]) == {"user": ["7", "8"], "kind": ["a\nb", "c"]}


def test_a_column_wanted_as_text_and_as_number(source: Path) -> None:
    (source / "log2.csv").unlink()
    got = read(source, Columns(("price", "user"), ("price",)), joins=[])
    assert got["price"] == ["1.5", None, 1.5, None]


def test_several_side_files_and_columns_of_two_side_tables(source: Path) -> None:
    (source / "users2.csv").write_text("id,age\n8,30\n")
    assert read(source, join={"files": ["users.csv", "users2.csv"]})["age"] == [20.0, 30.0, 40.0]


def refuse(source: Path, message: str, columns: Columns = COLUMNS, **changes: Any) -> None:
    with pytest.raises(UserError, match=message):
        read(source, columns, **changes)


def test_missing_folder_file_and_column(source: Path) -> None:
    refuse(source / "none", "does not exist")
    refuse(source, r"no file 'x\*\.csv' in", table={"files": ["x*.csv"]})
    refuse(source, r"log1\.csv: no column 'colour'; it has user, unused, kind, price", Columns(("colour",)))
    refuse(source, r"log2\.csv: no column 'unused'", Columns(("unused",)))
    refuse(source, r"users\.csv: no column 'uid'; it has id, age", join={"key_there": "uid"})


def test_text_in_a_numeric_column_is_located(source: Path) -> None:
    (source / "log2.csv").write_text("price,kind,user\n3,c,9\n4,c,9\ncheap,c,9\n")
    refuse(source, r"log2\.csv, line 4, column 'price': got 'cheap', expected a number")


def test_text_in_a_numeric_column_of_parquet_is_told(source: Path) -> None:
    pq.write_table(pa.table({"user": [7], "kind": ["a"], "price": ["cheap"]}), source / "log3.parquet")
    refuse(source, r"log3\.parquet, column 'price': expected numbers, got string")


def test_a_row_with_too_few_columns_is_located(source: Path) -> None:
    (source / "log2.csv").write_text("price,kind,user\n3,c,9\n4,c\n")
    refuse(source, r"log2\.csv, line 3: got 2 columns, expected 3")


def test_an_empty_file_and_one_that_is_no_parquet(source: Path) -> None:
    (source / "log2.csv").write_text("")
    refuse(source, r"cannot read .*log2\.csv: Empty CSV file")
    (source / "log2.csv").unlink()
    (source / "log3.parquet").write_text("user,kind\n")
    refuse(source, r"cannot read .*log3\.parquet")


def test_bytes_that_are_no_text(source: Path) -> None:
    (source / "log2.csv").write_bytes(b"price,kind,user\n3,\xff\xfe,9\n")
    refuse(source, r"cannot read .*log2\.csv.*UTF8")


def test_side_keys_must_be_unique_and_match(source: Path) -> None:
    (source / "users.csv").write_text("id,age\n7,1\n7.0,2\n")
    refuse(source, r"users\.csv: the key 'id' must be unique, got '7' more than once")
    (source / "users.csv").write_text("id,age\nseven,1\n")
    refuse(source, r"users\.csv: its column 'id' matches no row of the main table's 'user'")


def test_no_progress_bar_where_no_terminal_is(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(source)
    assert capsys.readouterr() == ("", "")


def test_a_progress_bar_on_a_terminal_reaches_the_end(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with reading._progress_bar("x", 10, True) as advance:
        advance(10)
    assert len(read(source)["user"]) == 3
