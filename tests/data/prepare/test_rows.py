"""The reader: several files in order, side tables joined, and errors that name file, line, column and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pfmsmtrec_flwr.data.prepare import progress
from pfmsmtrec_flwr.data.prepare.columns import Output
from pfmsmtrec_flwr.data.prepare.rows import DerivedRows, Reader
from pfmsmtrec_flwr.data.prepare.source_parts import source_parts
from pfmsmtrec_flwr.data.read import csv_headers, csv_pieces, parquet_tables
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.sources import SourceFolder
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse

NOTHING: Any = ""
"""Missing value of a column of text, which no column of the package is."""


def text(name: str) -> Output:
    def make(chunk: Chunk) -> np.ndarray:
        column = chunk.coded(name)
        return column.lookup(column.values, None)

    return Output(name, name, "S8", NOTHING, make)


def number(name: str) -> Output:
    return Output(name, name, "float64", np.nan, lambda chunk: chunk.numbers(name), number=True)


OUTPUTS = (text("user"), text("kind"), number("price"), number("age"))
OWN = OUTPUTS[:3]


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
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "log1.csv").write_text('user,unused,kind,price\n7,x,"a,""b""",1.5\n8,x,,\n')
    (folder / "log2.csv").write_text("price,kind,user\n3,c,9\n")
    (folder / "users.csv").write_text("id,age\n9,40\n07,20\n1,1\n")
    return folder


def reader(source: Path, **changes: Any) -> Reader:
    own = schema(**changes)
    return Reader(own, source_parts(own, SourceFolder(source, "shop"), ["NL"]), source.parent / "work")


def read(source: Path, outputs: tuple[Output, ...] = OUTPUTS, **changes: Any) -> dict[str, list[Any]]:
    got: dict[str, list[Any]] = {output.name: [] for output in outputs}
    found = reader(source, **changes)
    for part in found.parts:
        for rows in found.rows(part, outputs):
            for name, values in rows.arrays.items():
                plain = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
                got[name] += [None if value == "" or value != value else value for value in plain]
    found.refuse_unmatched()
    return got


def test_all_files_in_order_columns_by_name_quoted_missing_and_joined(source: Path) -> None:
    assert read(source) == {
        "user": ["7", "8", "9"],
        "kind": ['a,"b"', None, "c"],
        "price": [1.5, None, 3.0],
        "age": [20.0, None, 40.0],
    }


def test_pieces_do_not_change_what_is_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "log2.csv").unlink()
    lines = [f"{7 + number % 3},x,{number},{number}" for number in range(300)]
    (source / "log1.csv").write_text("\n".join(["user,unused,kind,price", *lines]))
    whole = read(source)
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 300)
    monkeypatch.setattr(csv_headers, "_HEAD_BYTES", 30)
    found = reader(source)
    assert len(list(found.rows(found.parts[0], OUTPUTS))) > 5
    assert read(source) == whole


def test_parquet_gives_the_same_with_other_types(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(source)
    for file in source.glob("log*"):
        file.unlink()
    table = {"user": [7.0, 8.0, 9.0], "kind": ['a,"b"', None, "c"], "price": [1.5, None, 3.0], "unused": [0, 0, 0]}
    pq.write_table(pa.table(table), source / "log.parquet")
    monkeypatch.setattr(parquet_tables, "PARQUET_ROWS", 2)
    assert read(source) == expected


def test_a_column_wanted_as_text_and_as_number(source: Path) -> None:
    price = Output("words", "price", "S8", NOTHING, text("price").make)
    got = read(source, (price, number("price")), joins=[])
    assert got == {"words": ["1.5", None, "3"], "price": [1.5, None, 3.0]}


def test_a_column_of_the_main_table_goes_before_that_of_a_side_table(source: Path) -> None:
    (source / "users.csv").write_text("id,age,price\n9,40,99\n7,20,99\n")
    assert read(source)["price"] == [1.5, None, 3.0]


def test_several_side_files(source: Path) -> None:
    (source / "users2.csv").write_text("id,age\n8,30\n")
    assert read(source, join={"files": ["users.csv", "users2.csv"]})["age"] == [20.0, 30.0, 40.0]


def two_joins(source: Path, **second: Any) -> list[dict[str, Any]]:
    (source / "more.csv").write_text('id,size,kind,age\n9,5,c,7\n8,6,x,7\n7,4,"a,""b""",7\n')
    first = {"files": ["users.csv"], "key": "user", "key_there": "id"}
    return [first, {"files": ["more.csv"]} | second]


def test_two_side_tables(source: Path) -> None:
    got = read(source, (*OUTPUTS, number("size")), joins=two_joins(source, key="kind"))
    assert got["age"] == [20.0, None, 40.0]  # of the first that has the column
    assert got["size"] == [4.0, None, 5.0]


def test_two_side_tables_with_the_same_key(source: Path) -> None:
    got = read(source, (*OUTPUTS, number("size")), joins=two_joins(source, key="user", key_there="id"))
    assert got["age"] == [20.0, None, 40.0]
    assert got["size"] == [4.0, 6.0, 5.0]


def test_an_inner_join_repeats_and_drops_rows(source: Path) -> None:
    (source / "users.csv").write_text("id,age\n9,40\n07,20\n1,1\n7,21\n")
    assert read(source, join={"how": "inner"}) == {
        "user": ["7", "7", "9"],
        "kind": ['a,"b"', 'a,"b"', "c"],
        "price": [1.5, 1.5, 3.0],
        "age": [20.0, 21.0, 40.0],
    }


def test_two_inner_joins_multiply(source: Path) -> None:
    (source / "users.csv").write_text("id,age\n9,40\n7,20\n7,21\n")
    joins = two_joins(source, key="user", key_there="id", how="inner")
    joins[0]["how"] = "inner"
    (source / "more.csv").write_text("id,size\n5,1\n")
    with pytest.raises(UserError, match=r"more\.csv: its column 'id' matches no row"):
        read(source, (*OUTPUTS, number("size")), joins=joins)
    (source / "more.csv").write_text("id,size\n7,1\n7,2\n")
    (source / "log2.csv").unlink()
    got = read(source, (*OUTPUTS, number("size")), joins=joins)
    assert list(zip(got["age"], got["size"], strict=True)) == [(20.0, 1.0), (20.0, 2.0), (21.0, 1.0), (21.0, 2.0)]


def test_an_inner_join_drops_rows_even_where_its_columns_are_not_used(source: Path) -> None:
    assert read(source, OWN, join={"how": "inner"})["user"] == ["7", "9"]


def test_a_side_table_that_is_not_used_is_not_read(source: Path) -> None:
    (source / "users.csv").write_text("id,age\n7,1\n7,2,3\n")
    assert read(source, OWN)["user"] == ["7", "8", "9"]


def test_a_side_table_is_read_once_for_all_files(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    real = progress.progress_bar
    for module in ("joins", "rows"):
        monkeypatch.setattr(
            f"pfmsmtrec_flwr.data.prepare.{module}.progress_bar",
            lambda title, *more, **keys: titles.append(title) or real(title, *more, **keys),  # type: ignore[func-returns-value]
        )
    read(source)
    assert titles == ["reading users.csv", "reading log1.csv", "reading log2.csv"]


def test_values_of_a_day_column(source: Path) -> None:
    def values(column: str) -> list[str]:
        chunks = [chunk.coded(column) for chunk in reader(source).column(column)]
        return sorted({value for texts in chunks for value in texts.values[texts.counts() > 0]})

    assert values("kind") == ['a,"b"', "c"]
    assert values("age") == ["1", "20", "40"]
    with pytest.raises(UserError, match=r"log1\.csv: no column 'day'; it has user, unused, kind, price"):
        values("day")


def refuse(source: Path, message: str, outputs: tuple[Output, ...] = OUTPUTS, **changes: Any) -> None:
    with pytest.raises(UserError, match=message):
        read(source, outputs, **changes)


def test_missing_file_and_column(source: Path) -> None:
    refuse(source, r"no file 'x\*\.csv' in", table={"files": ["x*.csv"]})
    refuse(source, r"no file 'people\.csv' in", join={"files": ["people.csv"]})
    refuse(source, r"log1\.csv: no column 'colour'; it has user, unused, kind, price", (text("colour"),))
    refuse(source, r"log2\.csv: no column 'unused'", (text("unused"),))
    refuse(source, r"users\.csv: no column 'uid'; it has id, age", join={"key_there": "uid"})
    refuse(source, r"log1\.csv: no column 'uid'; it has user, unused", join={"key": "uid"})


def test_what_cannot_be_read_is_located(source: Path) -> None:
    (source / "log2.csv").write_text("price,kind,user\n3,c,9\n4,c,9\ncheap,c,9\n")
    refuse(source, r"log2\.csv, line 4, column 'price': got 'cheap', expected a number")
    (source / "log2.csv").write_text("price,kind,user\n3,c,9\n4,c\n")
    refuse(source, r"log2\.csv, line 3: got 2 columns, expected 3")
    (source / "users.csv").write_text("id,age\n7,old\n")
    refuse(source, r"users\.csv, line 2, column 'age': got 'old', expected a number")


def test_side_keys_must_be_unique_and_match(source: Path) -> None:
    (source / "users.csv").write_text("id,age\n8,1\n7,1\n7.0,2\n")
    refuse(source, r"users\.csv: the key 'id' must be unique, got '7' more than once$")
    (source / "users.csv").write_text("id,age\nseven,1\n")
    message = r"users\.csv: its column 'id' matches no row of the main table's 'user': are both of the same data set\?$"
    refuse(source, message)
    refuse(source, message, join={"how": "inner"})
    (source / "users.csv").write_text("id,age\n")
    refuse(source, r"users\.csv: the table is empty$")


def test_a_wrong_value_is_located_in_the_row_it_comes_from(source: Path) -> None:
    (source / "users.csv").write_text("id,age\n9,40\n8,20\n8,21\n")
    found = reader(source, join={"how": "inner"})
    (rows,) = found.rows(found.parts[0], OUTPUTS)
    assert len(rows) == 2
    error = rows.error(OUTPUTS[0], np.array([False, True]), "expected another")
    assert str(error).endswith("log1.csv, line 3, column 'user': got '8', expected another")
    error = rows.error(OUTPUTS[3], np.array([False, True]), "expected another")
    assert str(error) == f"{source}/log1.csv: a row finds in its side table no 'age' or a wrong one, expected another"
    plain = DerivedRows(rows.chunk, rows.arrays, None)
    error = plain.error(OUTPUTS[1], np.array([False, True]), "expected a kind")
    assert str(error).endswith("log1.csv, line 3, column 'kind': got an empty value, expected a kind")


def test_files_of_the_scenario_and_of_the_splits(source: Path) -> None:
    for name in ("NL_tr", "NL_te", "NL_va", "ES_tr"):
        (source / f"{name}.csv").write_text("user\n1\n")
    changes = {
        "table": {"files": ["{scenario}_{split}.csv"]},
        "join": {"files": ["{scenario}_{split}.csv"]},
        "scenario": {"names": ["NL", "ES"]},
        "split": {"by_file": {"train": "tr", "test": "te", "validation": "va"}},
    }
    found = [
        (part.split, part.source.name, [[side.name for side in sides] for sides in part.sides])
        for part in reader(source, **changes).parts
    ]
    assert found == [
        ("tr", "NL_tr.csv", [["NL_tr.csv"]]),
        ("va", "NL_va.csv", [["NL_va.csv"]]),
        ("te", "NL_te.csv", [["NL_te.csv"]]),
    ]


def test_no_progress_bar_where_no_terminal_is(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(source)
    assert capsys.readouterr() == ("", "")


def test_a_progress_bar_on_a_terminal(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert len(read(source)["user"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "reading log1.csv" in shown.err
    assert "reading users.csv" in shown.err
    with progress.progress_bar("counting", 10, wanted=True, unit="rows") as advance:
        advance(10)
    assert "10/10" in capsys.readouterr().err
    with progress.progress_bar("counting", 10, wanted=False) as advance:
        advance(10)
    assert capsys.readouterr().err == ""
