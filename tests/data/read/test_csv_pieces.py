"""Pieces of CSV files: repeated headers, long rows, quotes, and lines of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pfmsmtrec_flwr.data.read import csv_pieces
from pfmsmtrec_flwr.data.read.blocks import ColumnSelection
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.tables import read_blocks
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

TABLE = TableSection(files=("x",))
MIB = 1 << 20


def source_of(folder: Path, data: str | bytes) -> SourceFile:
    (folder / "log.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    return SourceFile("log.csv", folder / "log.csv")


def rows(source: SourceFile, columns: ColumnSelection) -> list[tuple[Any, ...]]:
    found = read_blocks(source, TABLE, columns, lambda _: None)
    return [tuple(row.values()) for block in found for row in block.rows.to_pylist()]


AB = ColumnSelection(("a", "b"))


@pytest.mark.parametrize("size", [1, 8, 16, MIB])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_that_repeat_the_header_are_left_out(
    tmp_path: Path, end: str, size: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", size)
    lines = ["a,b", "a,b", "x,1", "a,bc", "a,b", "\ufeffa,b", "xa,b", "", "a,b", f'"p{end}a,b{end}q",2', "y,3", "a,b"]
    expected = [("x", "1"), ("a", "bc"), ("xa", "b"), (f"p{end}a,b{end}q", "2"), ("y", "3")]
    for last in ("", end):
        caplog.clear()
        assert rows(source_of(tmp_path, end.join(lines) + last), AB) == expected
        assert "log.csv: 5 lines that repeat the header left out" in caplog.text
    assert rows(source_of(tmp_path, end.join(["a,b", "a,b", "a,b", ""])), AB) == []


def test_the_name_of_the_only_column_may_be_a_value(tmp_path: Path) -> None:
    assert rows(source_of(tmp_path, "a\nx\na\n"), ColumnSelection(("a",))) == [("x",), ("a",)]


def test_another_header_in_another_order_is_named(tmp_path: Path) -> None:
    source = source_of(tmp_path, "a,b\nx,1\nb,a\n2,y\n")
    with pytest.raises(UserError, match=r"line 3, column 'b': got 'a', expected a number: is the line another header"):
        rows(source, ColumnSelection(("a",), ("b",)))
    (block,) = read_blocks(source, TABLE, AB, lambda _: None)
    error = Chunk.of(source, TABLE, block).error("b", block.rows.column("b").to_numpy() == "a", "expected 0 or 1")
    assert str(error).endswith(
        "line 3, column 'b': got 'a', expected 0 or 1: is the line another header, as in files that were joined? "
        "Keep these apart"
    )


@pytest.mark.parametrize("size", [MIB - 8, MIB, 3 * MIB, 20 * MIB])
@pytest.mark.parametrize("quote", ["", '"'])
def test_rows_of_any_length(tmp_path: Path, size: int, quote: str) -> None:
    source = source_of(tmp_path, f"a,b,c\nx,1,2\ny,2,{quote}{'z' * size}{quote}\nw,3,4\n")
    assert rows(source, ColumnSelection(("a",), ("b",))) == [("x", 1.0), ("y", 2.0), ("w", 3.0)]
    lengths = [len(text) for (text,) in rows(source, ColumnSelection(("c",)))]
    assert lengths == [1, size, 1]


@pytest.mark.parametrize("size", [200_000, 3 * MIB])
@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("w,q,4", r"line 4, column 'b': got 'q', expected a number$"),
        ("w,3", r"line 4: got 2 columns, expected 3: the file ends within the row"),
        ('w,3,"4', r"line 4: got a quote \" that no other one closes"),
        ("w\xff,3,4", r"line 4: got the byte 0xff"),
    ],
)
def test_errors_after_a_long_field_have_their_line(tmp_path: Path, size: int, last: str, message: str) -> None:
    data = f'a,b,c\nx,1,{"z" * size}\ny,2,5" pipe of 1"\n{last}'.encode("latin-1")
    with pytest.raises(UserError, match=message):
        rows(source_of(tmp_path, data), ColumnSelection(("a",), ("b",)))


def test_a_stray_quote_and_a_long_field_are_read(tmp_path: Path) -> None:
    source = source_of(tmp_path, f'a,b\nx,{"z" * 140_000}\n5" pipe,1\ny,2\n')
    assert [a for a, _ in rows(source, AB)] == ["x", '5" pipe', "y"]


def test_a_wrong_value_is_found_after_quoted_line_ends_and_empty_lines(tmp_path: Path) -> None:
    source = source_of(tmp_path, 'a,b\r\n"x\r\n\r\nx",1\r\n\r\n\r\ny,2\r\n"z\nz",3\r\nw,4\r\n')
    (block,) = read_blocks(source, TABLE, AB, lambda _: None)
    assert [block.line_of(row) for row in range(4)] == [2, 7, 8, 10]
    wrong = block.rows.column("a").to_numpy() == "z\nz"
    error = Chunk.of(source, TABLE, block).error("a", wrong, "expected a name")
    assert str(error) == rf"{source}, line 8, column 'a': got 'z\nz', expected a name"


def test_carriage_returns_alone_and_quotes_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 64)
    monkeypatch.setattr(csv_pieces, "_LONGEST_LINE", 256)
    lines = ["a,b", *(f'"x\r{number}",{number}' for number in range(90))]
    got = rows(source_of(tmp_path, "\r".join(lines)), AB)
    assert got == [(f"x\r{number}", str(number)) for number in range(90)]
