"""One file of a table: pieces of any size give the same rows, and errors name the line."""

from __future__ import annotations

import gzip
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfmsmtrec_flwr.data.encode.several import LIST_SEPARATOR
from pfmsmtrec_flwr.data.read import csv_headers, csv_pieces, parquet_tables
from pfmsmtrec_flwr.data.read.blocks import Block, ColumnSelection
from pfmsmtrec_flwr.data.read.csv_pieces import line_at
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.tables import column_names, read_blocks
from pfmsmtrec_flwr.data.schema.column_form import ColumnForm
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

AB = ColumnSelection(("a",), ("b",))
Row = tuple[Any, ...]


def source_of(folder: Path, data: str | bytes, name: str = "log.csv") -> SourceFile:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return SourceFile(name, folder / name)


def blocks(source: SourceFile, columns: ColumnSelection = AB, **table: Any) -> Iterator[Block]:
    return read_blocks(source, TableSection(files=("x",), **table), columns, lambda _: None)


def rows(source: SourceFile, columns: ColumnSelection = AB, **table: Any) -> list[Row]:
    return [tuple(row.values()) for block in blocks(source, columns, **table) for row in block.rows.to_pylist()]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 64)
    monkeypatch.setattr(csv_headers, "_HEAD_BYTES", 16)


def test_columns_by_name_in_the_wanted_order(tmp_path: Path) -> None:
    source = source_of(tmp_path, "b,x,a\n1,,one\n2.5,y,two\n")
    assert rows(source) == [("one", 1.0), ("two", 2.5)]
    assert rows(source, ColumnSelection(("b", "a"), ("b",))) == [("1", "one"), ("2.5", "two")]  # as text where both
    assert column_names(source, TableSection(files=("x",))) == ["b", "x", "a"]


def test_a_header_of_the_schema_a_delimiter_and_a_quote(tmp_path: Path) -> None:
    source = source_of(tmp_path, "'x\ty'\t1\n\\N\tnone\n")
    table: dict[str, Any] = {"header": ("a", "b"), "delimiter": "\t", "quote": "'"}
    assert rows(source, **table) == [("x\ty", 1.0), ("\\N", None)]
    assert column_names(source, TableSection(files=("x",), **table)) == ["a", "b"]


def test_words_in_place_of_a_number_are_missing_and_texts_keep_theirs(tmp_path: Path) -> None:
    words = ["NA", "n/a", "NaN", "NULL", "null", "None", "none", "\\N", "#N/A", "<NA>", "", '""', " NA", " "]
    source = source_of(tmp_path, "a,b\n" + "".join(f"{word},{word}\n" for word in words))
    expected = [word.strip('"') or None for word in words]
    assert rows(source) == [(word, None) for word in expected]
    source = parquet(tmp_path, {"a": expected, "b": [None if word == "" else word for word in expected]})
    assert [a for a, _ in rows(source)] == expected


def test_columns_in_a_form_of_their_own_are_read_as_text(tmp_path: Path) -> None:
    source = source_of(tmp_path, 'a,b,c\nx,"1,5",2\n')
    table = TableSection(files=("x",), columns={"b": ColumnForm(decimal=",")})
    (block,) = read_blocks(source, table, ColumnSelection(("a",), ("b", "c")), lambda _: None)
    assert block.rows.to_pylist() == [{"a": "x", "b": "1,5", "c": 2.0}]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a,b\nx,1\r\ny,2\rz,3\n\n\r\n\rw,4", [("x", 1.0), ("y", 2.0), ("z", 3.0), ("w", 4.0)]),
        (b"\xef\xbb\xbfa,b\nx,1\n", [("x", 1.0)]),
        ("a,b\rx,1\ry,2\r", [("x", 1.0), ("y", 2.0)]),
        (' a ,"b"\nx,1\n', [("x", 1.0)]),
        ('a,b\n"x\r\ny",1\n"say ""x""",2\n"",""\n', [("x\r\ny", 1.0), ('say "x"', 2.0), (None, None)]),
        ('a,b\n5" pipe,1\n"x",2', [('5" pipe', 1.0), ("x", 2.0)]),
        ('a,b\n"p\nq""r\ns",1\n', [('p\nq"r\ns', 1.0)]),  # a piece may end between r and s
        ("a,b\n1,\n,1e3\n", [("1", None), (None, 1000.0)]),
        ("a,b\n", []),
        ("a,b", []),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 9, 1 << 20])
def test_what_is_accepted(
    tmp_path: Path, data: str | bytes, expected: list[Row], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", piece)
    monkeypatch.setattr(csv_headers, "_HEAD_BYTES", 5)
    assert rows(source_of(tmp_path, data)) == expected


def test_rows_of_missing_values_at_the_end_are_rows(tmp_path: Path) -> None:
    assert rows(source_of(tmp_path, "a\tb\n\t\n\t\n"), delimiter="\t") == [(None, None)] * 2


VALUES = st.text(alphabet='ab,"\n\r ;é', max_size=6)
TABLES = st.lists(
    st.tuples(VALUES, st.booleans(), VALUES, st.sampled_from(["\n", "\r\n", "\r"]), st.integers(0, 2)), max_size=12
)


def written(value: str, quoted: bool) -> str:
    if quoted or set(value) & set(',"\n\r'):
        return '"' + value.replace('"', '""') + '"'
    return value


@settings(max_examples=60)  # each writes a file
@given(TABLES, st.integers(1, 40), st.integers(3, 40), st.booleans())
def test_pieces_of_any_size_give_the_same_rows(
    table: list[tuple[str, bool, str, str, int]], piece: int, head: int, last_end: bool
) -> None:
    text = "a,b\n" + "".join(
        f"{written(first, quoted)},{written(second, not quoted)}{end}" + end * blank
        for first, quoted, second, end, blank in table
    )
    text = text if last_end else text.rstrip("\r\n")
    expected = [(first or None, second or None) for first, _, second, _, _ in table]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        source = source_of(Path(folder), text)
        assert rows(source, ColumnSelection(("a", "b"))) == expected
        patch.setattr(csv_pieces, "PIECE_BYTES", piece)
        patch.setattr(csv_headers, "_HEAD_BYTES", head)
        assert rows(source, ColumnSelection(("a", "b"))) == expected


@pytest.mark.usefixtures("small_pieces")
def test_blocks_know_their_first_line(tmp_path: Path) -> None:
    lines = ["a,b", *(f'"{number}\nx",{number}' if number % 9 == 0 else f"{number},{number}" for number in range(90))]
    source = source_of(tmp_path, "\r\n".join(lines) + "\r\n")
    found = list(blocks(source))
    assert len(found) > 5
    for block in found:
        number = int(block.rows.column("b")[0].as_py())
        assert block.line_of(0) == 2 + number + -(-number // 9)


def test_a_carriage_return_and_a_line_feed_are_one_end_across_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(tmp_path, "a\r\nb\rc\nd")
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 2)
    assert [line_at(source, TableSection(files=("x",)), offset) for offset in (0, 3, 5, 7)] == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["plain", "gz", "zip"])
def test_bytes_read_are_reported(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 20_000)
    monkeypatch.setattr(csv_headers, "_HEAD_BYTES", 100)
    text = ("a,b\n" + "".join(f"{number},{number}\n" for number in range(9999))).encode()
    source = source_of(tmp_path, text)
    if kind == "gz":
        source = source_of(tmp_path, gzip.compress(text), "log.csv.gz")
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "log.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("first.csv", bytes(range(256)) * 99)
            archive.writestr("log.csv", text)
        source = SourceFile("log.csv", tmp_path / "log.zip", "log.csv")
    reported: list[int] = []
    read = sum(block.rows.num_rows for block in read_blocks(source, TableSection(files=("x",)), AB, reported.append))
    assert read == 9999
    assert len(reported) > 3
    assert sum(reported) == source.size()


def refuse(source: SourceFile, message: str, columns: ColumnSelection = AB, **table: Any) -> None:
    with pytest.raises(UserError) as error:
        rows(source, columns, **table)
    assert str(error.value).replace(f"{source.path.parent}/", "") == message


ENCODING = ": set table.encoding, such as cp1252, or convert the file: iconv -f cp1252 -t utf-8"
ANOTHER = ": is the line another header, as in files that were joined? Keep these apart"
HEADER_HINT = ": does the file begin with a header line? It must not"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a,b\nx,1\ny", "log.csv, line 3: got 1 column, expected 2: the file ends within the row, as after a download "
         "that broke off"),
        ("a,b\nx,1\ny\n", "log.csv, line 3: got 1 column, expected 2"),
        ("a,b\nx,1,2\n", "log.csv, line 2: got 3 columns, expected 2"),
        ("a,b\n\r\n\n\"x\ny\",1\nz,z\n", "log.csv, line 6, column 'b': got 'z', expected a number"),
        ("a,b\rx,1\r\ny,2\nz,-\n", "log.csv, line 4, column 'b': got '-', expected a number"),
        ("a,b\nx," + "z" * 99 + "\n", f"log.csv, line 2, column 'b': got '{'z' * 57}...', expected a number"),
        ("a,b\nx,1_0\n", "log.csv, line 2, column 'b': got '1_0', expected a number"),
        ("a;b\nx;1\n", "log.csv, line 1: got one column, 'a;b', which looks separated by ';', expected ',': set "
         "table.delimiter, or convert the file"),
        ("a\tb\nx\t1\n", "log.csv, line 1: got one column, 'a b', which looks separated by '\\t', expected ',': set "
         "table.delimiter, or convert the file"),
        ("7,1\n8,2\n", "log.csv, line 1: got '7, 1', which looks like a row, expected a header line with the column "
         "'a': add it, or name the columns in table.header"),
        ("7,7\n8,2\n", "log.csv, line 1: got '7, 7', which looks like a row, expected a header line with the column "
         "'a': add it, or name the columns in table.header"),
        ("a,c\nx,1\n", "log.csv: no column 'b'; it has a, c"),
        ("a,b,a\nx,1,y\n", "log.csv, line 1: the column 'a' occurs twice"),
        ("", "cannot read log.csv: Empty CSV file"),
        ("\n \r\n", "cannot read log.csv: Empty CSV file"),
        ("a,b\nx,1\n".encode("utf-16"), "log.csv: it is text in UTF-16, expected "
         "UTF-8: set table.encoding to utf-16, or convert the file: iconv -f utf-16 -t utf-8"),
        (b"\xe9,b\nx,1\n", "log.csv, line 1: got no text in UTF-8, expected the names of the columns" + ENCODING),
        (b"a,b\nx,1\ny\xe9,1\n", "log.csv, line 3: got the byte 0xe9, expected text in UTF-8" + ENCODING),
        (b"a,b\nx,1\ny,\xff\n", "log.csv, line 3: got the byte 0xff, expected text in UTF-8" + ENCODING),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, data: str | bytes, message: str) -> None:
    refuse(source_of(tmp_path, data), message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a,b\nx,1\n", "log.csv, line 1, column 'b': got 'b', expected a number" + HEADER_HINT),
        ("x,1\ny,b\n", "log.csv, line 2, column 'b': got 'b', expected a number" + ANOTHER),
        ("x;1\ny;1\n", "log.csv, line 1: got 1 column, expected 2: it looks separated by ';', expected ','"
         + HEADER_HINT),
        ("x,1,1\n", "log.csv, line 1: got 3 columns, expected 2" + HEADER_HINT),
        ("x,1\ny,1,1\n", "log.csv, line 2: got 3 columns, expected 2"),
        ("", "cannot read log.csv: Empty CSV file"),
    ],
)  # fmt: skip
def test_what_is_refused_where_the_schema_has_the_header(tmp_path: Path, data: str, message: str) -> None:
    refuse(source_of(tmp_path, data), message, header=("a", "b"))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ('a,b\nx,1\n"y,2\nz,3\n', 3),  # a wrong number of columns without the quote's closing
        ('a,b\nx,1\ny,"2\nz,3\n', 3),
        ('a,b\nx,1\ny,"2\nz,3\nw,"4"\n', 3),  # the next value's quote closes it
        ('a,b\n"x\nx",1\n"y', 4),
        ('a,b\ny,"' + "2" * 200_000, 2),
    ],
)
@pytest.mark.parametrize("columns", [AB, ColumnSelection(("a", "b"))])
def test_a_quote_that_is_not_closed(tmp_path: Path, data: str, line: int, columns: ColumnSelection) -> None:
    why = "expected them in pairs: is the file complete? table.quote says which sign quotes"
    refuse(source_of(tmp_path, data), f'log.csv, line {line}: got a quote " that no other one closes, {why}', columns)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("x,cheap", ", column 'b': got 'cheap', expected a number"),
        ("x", ": got 1 column, expected 2"),
        ("x,1,1", ": got 3 columns, expected 2"),
        ('"x,1', ': got a quote " that no other one closes, expected them in pairs: is the file complete? '
         "table.quote says which sign quotes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_is_wrong_far_into_a_file_is_reported_with_its_line(
    tmp_path: Path, wrong: str, message: str, end: str
) -> None:
    lines = ["a,b", *[f"{number},{number}" for number in range(500)]]
    lines[400] = wrong
    refuse(source_of(tmp_path, end.join([*lines, ""])), f"log.csv, line 401{message}")


@pytest.mark.usefixtures("small_pieces")
def test_bytes_that_are_no_text_far_into_a_file(tmp_path: Path) -> None:
    data = b"a,b\n" + b"x,1\n" * 300 + b"\xff,1\n" + b"x,1\n" * 300
    refuse(source_of(tmp_path, data), "log.csv, line 302: got the byte 0xff, expected text in UTF-8" + ENCODING)


@pytest.mark.usefixtures("small_pieces")
def test_the_rows_before_what_is_wrong_are_read(tmp_path: Path) -> None:
    found = blocks(source_of(tmp_path, "a,b\n" + "x,1\n" * 300 + "y,y\n"))
    assert next(found).rows.num_rows > 0
    with pytest.raises(UserError, match=r"line 302, column 'b'"):
        list(found)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        ('a,b\nx,1\n"' + "y\n" * 900, "is a quote not closed? table.quote says which sign quotes"),
        ("a,b\nx,1\n" + "y" * 2000, "is it a text table?"),
    ],
)
def test_a_line_without_an_end(tmp_path: Path, data: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_pieces, "_LONGEST_LINE", 500)
    with pytest.raises(UserError, match=r"log\.csv, line 3: no end of the line within \d+ bytes: " + re.escape(why)):
        rows(source_of(tmp_path, data))


def test_damage_within_a_packed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 20_000)
    text = b"a,b\n" + b"".join(b"%d,%d\n" % (number * 7919 % 10007, number) for number in range(20_000))
    source = SourceFile("log.csv", source_of(tmp_path, gzip.compress(text)[:-3000], "log.csv.gz").path)
    refuse(
        source,
        "log.csv.gz: the archive is damaged or incomplete (Compressed file ended before the end-of-stream marker was "
        "reached): download it again",
    )


def parquet(folder: Path, columns: dict[str, Any]) -> SourceFile:
    pq.write_table(pa.table(columns), folder / "log.parquet")
    return SourceFile("log.parquet", folder / "log.parquet")


def test_parquet_of_other_types_in_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_tables, "PARQUET_ROWS", 2)
    source = parquet(tmp_path, {"b": [1, 2, None], "x": [0, 0, 0], "a": pa.array(["x", None, "y"]).dictionary_encode()})
    assert rows(source) == [("x", 1.0), (None, 2.0), ("y", None)]
    assert [block.line_of(0) for block in blocks(source)] == [1, 3]
    assert column_names(source, TableSection(files=("x",))) == ["b", "x", "a"]


def test_parquet_that_cannot_be_read(tmp_path: Path) -> None:
    refuse(parquet(tmp_path, {"a": [1]}), "log.parquet: no column 'b'; it has a")
    with pytest.raises(UserError, match=r"log\.parquet, column 'b': expected numbers, got list"):
        rows(parquet(tmp_path, {"a": [1], "b": [["cheap"]]}))
    with pytest.raises(UserError, match=r"^cannot read .*log\.parquet: "):
        rows(source_of(tmp_path, "a,b\n", "log.parquet"))
    packed = SourceFile("log.parquet", tmp_path / "log.zip", "log.parquet")
    refuse(packed, "cannot read log.zip (log.parquet): a Parquet file must lie on the disk as it is: unpack it")


def test_a_stray_quote_costs_nothing_in_a_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 256)
    lines = ["a,b", *(f'"x,\n{number}",{number}' for number in range(40)), '5" pipe,40']
    lines += [f'"y\n{number}",{number}' for number in range(41, 120)]
    got = rows(source_of(tmp_path, "\n".join(lines)))
    assert [number for _, number in got] == [float(number) for number in range(120)]
    assert got[40][0] == '5" pipe'
    assert got[60][0] == "y\n60"


def test_parquet_columns_that_are_no_plain_values(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"column 'a': expected text or plain values, got list"):
        rows(parquet(tmp_path, {"a": [[1], [2]], "b": [1.0, 2.0]}))
    with pytest.raises(UserError, match=r"column 'a': expected text or plain values, got binary"):
        rows(parquet(tmp_path, {"a": [b"\xff", b"x"], "b": [1.0, 2.0]}))


def test_numbers_of_parquet_files(tmp_path: Path) -> None:
    source = parquet(tmp_path, {"a": ["x", "\\N", None], "b": pa.array([2**60 + 1, None, -3], pa.int64())})
    assert rows(source) == [("x", 2.0**60), ("\\N", None), (None, -3.0)]
    source = parquet(tmp_path, {"a": ["x", "y"], "b": pa.array(["1.5", "NA"], pa.large_string())})
    assert rows(source) == [("x", "1.5"), ("y", "NA")]  # numbers are taken from text later


def test_atomic_files_have_tabs_and_typed_headers(tmp_path: Path) -> None:
    text = "a:token\tb:float\tkinds:token_seq\tat:10:float\nx, y\t1.5\tone two\t3\nz\t\t\t4\n"
    source = source_of(tmp_path, text, "films.item")
    assert column_names(source, TableSection(files=("x",))) == ["a", "b", "kinds", "at:10"]
    assert rows(source) == [("x, y", 1.5), ("z", None)]
    lists = ColumnSelection(("kinds",), lists=("kinds",))
    assert rows(source, lists) == [(f"one{LIST_SEPARATOR}two",), (None,)]
    assert rows(source, ColumnSelection(("kinds",))) == [("one two",), (None,)]
    with pytest.raises(UserError, match=r"films\.item, line 3: got 2 columns, expected 4"):
        rows(source_of(tmp_path, text.replace("\t\t4", ""), "films.item"))


def test_a_delimiter_that_is_set_holds_for_atomic_files(tmp_path: Path) -> None:
    source = source_of(tmp_path, "a:token,b:float\nx,1\n", "log.inter")
    assert rows(source, delimiter=",") == [("x", 1.0)]


def test_types_are_part_of_the_name_in_other_files(tmp_path: Path) -> None:
    source = source_of(tmp_path, "a:token,b\nx,1\n")
    assert column_names(source, TableSection(files=("x",))) == ["a:token", "b"]


def test_latin_1_is_read_where_it_is_declared(tmp_path: Path) -> None:
    source = source_of(tmp_path, "\u00e4|1\n".encode("latin-1"), "u.item")
    form: dict[str, Any] = {"header": ("a", "b"), "delimiter": "|"}
    assert rows(source, encoding="latin-1", **form) == [("\u00e4", 1.0)]
    with pytest.raises(UserError, match="line 1: got the byte 0xe4, expected text in UTF-8"):
        rows(source, **form)
    with pytest.raises(UserError, match="line 2, column 'b': got '\u00f6', expected a number"):
        rows(source_of(tmp_path, "\u00e4|1\nx|\u00f6\n".encode("latin-1"), "u.item"), encoding="latin-1", **form)


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    twice = pa.table([["x"], ["y"], [1]], names=["a", "a", "b"])
    pq.write_table(twice, tmp_path / "log.parquet")
    source = SourceFile("log.parquet", tmp_path / "log.parquet")
    refuse(source, "log.parquet: the column 'a' occurs twice")
    refuse(source, "log.parquet: the column 'a' occurs twice", ColumnSelection((), ("b",)))
    with pytest.raises(UserError, match=r"log\.parquet: the column 'a' occurs twice"):
        column_names(source, TableSection(files=("x",)))
    years = source_of(tmp_path, "2023,2024,2024,b\n1,2,3,4\n")
    refuse(years, "log.csv: the column '2024' occurs twice", ColumnSelection(("2024",)))


def test_files_without_a_row(tmp_path: Path) -> None:
    for data in ("a,b", "a,b\n", "a,b\r\n\r\n", "\ufeffa,b\n"):
        assert rows(source_of(tmp_path, data)) == []
    assert rows(parquet(tmp_path, {"a": pa.array([], pa.string()), "b": pa.array([], pa.int64())})) == []
    with pytest.raises(UserError, match=r"^cannot read .*log\.parquet: Parquet file size is 0 bytes$"):
        rows(source_of(tmp_path, "", "log.parquet"))
