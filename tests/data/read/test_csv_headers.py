"""Beginnings of CSV files: Excel's `sep=` line, empty lines, names with line ends, and files that are no text."""

from __future__ import annotations

import codecs
import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from pfmsmtrec_flwr.data.read.blocks import ColumnSelection
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.tables import column_names, read_blocks
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError


def source_of(folder: Path, data: bytes) -> SourceFile:
    (folder / "log.csv").write_bytes(data)
    return SourceFile("log.csv", folder / "log.csv")


def rows(source: SourceFile, **table: Any) -> list[tuple[Any, ...]]:
    found = read_blocks(source, TableSection(files=("x",), **table), ColumnSelection(("a",), ("b",)), lambda _: None)
    return [tuple(row.values()) for block in found for row in block.rows.to_pylist()]


def refuse(source: SourceFile, message: str, **table: Any) -> None:
    with pytest.raises(UserError, match=message):
        rows(source, **table)


@pytest.mark.parametrize("first", [b"sep=;\r\n", b"\xef\xbb\xbfsep=;\n", b'"sep=;"\r', b"SEP=;\n\n", b"sep=;;\n"])
def test_the_line_of_excel_names_the_delimiter(tmp_path: Path, first: bytes) -> None:
    source = source_of(tmp_path, first + b"a;b\nx;1\n")
    assert column_names(source, TableSection(files=("x",))) == ["a", "b"]
    assert rows(source) == rows(source, delimiter=";") == [("x", 1.0)]
    assert rows(source_of(tmp_path, first + b"x;1\n"), header=("a", "b")) == [("x", 1.0)]


def test_lines_are_counted_from_the_line_of_excel_on(tmp_path: Path) -> None:
    refuse(source_of(tmp_path, b"sep=;\na;b\nx;1\ny;z\n"), r"line 4, column 'b': got 'z'")
    refuse(source_of(tmp_path, b"sep=;\n\na;b;a\n"), r"line 3: the column 'a' occurs twice")
    refuse(source_of(tmp_path, b"sep=;\na;b\n"), r"line 1: got sep=;, expected the delimiter ',' of", delimiter=",")


def test_empty_lines_before_the_names(tmp_path: Path) -> None:
    assert rows(source_of(tmp_path, b"\n\r\n\na,b\nx,1\n")) == [("x", 1.0)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_name_with_a_line_end_in_quotes(tmp_path: Path, end: bytes) -> None:
    source = source_of(tmp_path, end.join([b'a,"clicks', b'of ""all""",b', b"x,2,1", b"y,2,z"]))
    assert column_names(source, TableSection(files=("x",))) == ["a", f'clicks{end.decode()}of "all"', "b"]
    refuse(source, r"line 4, column 'b': got 'z'")


def test_a_quote_within_a_name(tmp_path: Path) -> None:
    assert column_names(source_of(tmp_path, b'a,5" pipe\nx,1\n'), TableSection(files=("x",))) == ["a", '5" pipe']
    assert column_names(source_of(tmp_path, b'a,"5" pipe\nx,1\n'), TableSection(files=("x",))) == ["a", "5 pipe"]


def test_a_name_longer_than_the_first_bytes(tmp_path: Path) -> None:
    long = "n" * 300_000
    source = source_of(tmp_path, f"a,b,{long}\nx,1,2\n".encode())
    assert column_names(source, TableSection(files=("x",))) == ["a", "b", long]
    assert rows(source) == [("x", 1.0)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_other_encodings(tmp_path: Path, encoding: str, end: str) -> None:
    text = end.join(["a,b", "é,1", '"ü\nß",2', ""])
    source = source_of(tmp_path, text.encode(encoding))
    assert rows(source, encoding=encoding) == [("é", 1.0), ("ü\nß", 2.0)]
    refuse(source_of(tmp_path, (text + "x,ö").encode(encoding)), r"line 5, column 'b': got 'ö'", encoding=encoding)


def test_bytes_that_are_no_text_in_the_encoding(tmp_path: Path) -> None:
    data = b"a,b\r\n" + b"x,1\r\n" * 400_000 + b"\x81,1\r\n"
    refuse(source_of(tmp_path, data), r"line 400002: got the byte 0x81, expected text in cp1252$", encoding="cp1252")
    big_endian = codecs.BOM_UTF16_BE + ("a,b\n" + "x,1\n" * 200_000).encode("utf-16-be") + b"\xdc\x00\x00\x0a"
    refuse(source_of(tmp_path, big_endian), r"line 200002: got the byte 0xdc", encoding="utf-16")
    odd = "a,b\nx,1\n".encode("utf-16")[:-1]
    refuse(source_of(tmp_path, odd), r"line 2: got the byte 0x0a, expected text in utf-16$", encoding="utf-16")


def test_utf_16_without_a_mark_of_its_order(tmp_path: Path) -> None:
    refuse(source_of(tmp_path, b"a,b\nx,1\n"), r"it is no text in utf-16 \(.*\): correct table", encoding="utf-16")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (gzip.compress(b"a,b\n", mtime=0), "it is packed by gzip, expected text: end its name in .gz"),
        (b"\x28\xb5\x2f\xfd\x00", "it is packed by Zstandard, expected text: end its name in .zst"),
        (b"PAR1\x15\x04", "it is a Parquet file, expected text: end its name in .parquet"),
        (b"PK\x03\x04", "it is a zip archive or an Excel workbook, expected text: end its name in .zip, or save it"),
        ("a,b\n".encode("utf-16-be"), "line 1: got zero bytes, expected the names of the columns: is it UTF-16? set"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, data: bytes, what: str) -> None:
    refuse(source_of(tmp_path, data), rf"log\.csv[:,] {re.escape(what)}")


def test_an_encoding_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="got 'rot13', expected an encoding such as utf-8, cp1252 or utf-16"):
        TableSection(files=("x",), encoding="rot13")
