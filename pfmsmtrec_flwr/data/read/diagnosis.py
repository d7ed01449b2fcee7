"""Errors for tables that cannot be read: file, line, column, what was got and what was expected.

The CSV library names neither the line of a text that is not a number nor the line of a row with a wrong number of
columns. So the lines in question are read once more, slowly.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pfmsmtrec_flwr.data.encode.written_numbers import MISSING_TEXTS
from pfmsmtrec_flwr.data.read.blocks import ColumnSelection
from pfmsmtrec_flwr.data.read.csv_rows import BrokenRowError, csv_rows
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.streams import line_ends
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

ENCODING_HINT = "set table.encoding, such as cp1252, or convert the file: iconv -f cp1252 -t utf-8"

_SHOWN = 60
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_OTHER_KINDS = {
    b"\x1f\x8b": "is packed by gzip, expected text: end its name in .gz",
    b"\x28\xb5\x2f\xfd": "is packed by Zstandard, expected text: end its name in .zst",
    b"PAR1\x15": "is a Parquet file, expected text: end its name in .parquet",
    b"PK\x03\x04": "is a zip archive or an Excel workbook, expected text: end its name in .zip, or save it as CSV",
}
_WRITTEN_NUMBER = re.compile(r"[-+]?(?:[^\w\s]|[A-Z]{3})?\s*[-+]?\d[\d.,'\u2019\s]*(?:[^\w\s]|[A-Z]{3})?")


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a file."""

    data: bytes
    first_line: int
    last: bool
    """True if the file ends with these lines."""


def refuse_other_kinds(source: SourceFile, start: bytes) -> None:
    """Refuse a file whose first bytes are of another kind than text in UTF-8.

    Raises
    ------
    UserError
        The message says what to do.
    """
    if start.startswith(_UTF16_MARKS):
        raise UserError(
            f"{source}: it is text in UTF-16, expected UTF-8: set table.encoding to utf-16, or convert the file: "
            "iconv -f utf-16 -t utf-8"
        )
    for mark, what in _OTHER_KINDS.items():
        if start.startswith(mark):
            raise UserError(f"{source}: it {what}")


def require_columns(source: SourceFile, table: TableSection, columns: ColumnSelection, names: Sequence[str]) -> None:
    """Refuse a table that lacks a column, and say what is probably wrong with it.

    Raises
    ------
    UserError
        The message names the first missing column, or one that is there twice.
    """
    for name in columns.all():
        if name not in names:
            raise missing_column(source, table, name, names)
        if names.count(name) > 1:
            raise UserError(f"{source}: the column '{name}' occurs twice")


def missing_column(source: SourceFile, table: TableSection, name: str, names: Sequence[str]) -> UserError:
    """Return the error for a missing column."""
    shown = ", ".join(names)
    if len(names) == 1 and (other := _likely_delimiter(names[0], table.delimiter)) is not None:
        return UserError(
            f"{source}, line 1: got one column, '{shortened(names[0])}', which looks separated by {other!r}, expected "
            f"{table.delimiter!r}: set table.delimiter, or convert the file"
        )
    if all(_is_number(each) for each in names):
        return UserError(
            f"{source}, line 1: got '{shortened(shown)}', which looks like a row, expected a header line with the "
            f"column '{name}': add it, or name the columns in table.header"
        )
    shown = ", ".join(map(shortened, names))
    return UserError(f"{source}: no column '{name}'; it has {shown}")


def refuse_repeated(source: SourceFile, names: Sequence[str], where: str = "") -> None:
    """Refuse names of columns that repeat. Repeated numbers mean a missing header and are reported elsewhere.

    Raises
    ------
    UserError
        The message names the column; `where` is the place of the names in the file.
    """
    for place, name in enumerate(names):
        if name in names[:place] and name and not _is_number(name):
            raise UserError(f"{source}{where}: the column '{shortened(name)}' occurs twice")


def header_hint(line: int, table: TableSection, got: Iterable[str], names: Collection[str]) -> str:
    """Return a hint for an error where a header may be that is not expected.

    Parameters
    ----------
    line
        Line of the error.
    table
        Form of the file.
    got
        Values in question.
    names
        Names of the columns.
    """
    if line == 1 and table.header:
        return ": does the file begin with a header line? It must not"
    if any(text.strip() in names for text in got):
        return ": is the line another header, as in files that were joined? Keep these apart"
    return ""


def number_hint(text: str) -> str:
    """Return a hint for a text that may be a number in a form of its own."""
    if _WRITTEN_NUMBER.fullmatch(text.strip()):
        return ": is it written so? State it in table.columns: decimal, thousands, signs"
    return ""


def explain(
    source: SourceFile,
    table: TableSection,
    names: Sequence[str],
    numbers: Sequence[tuple[str, int]],
    rows: Lines,
    error: Exception,
) -> UserError:
    """Return the error for lines that could not be parsed.

    Parameters
    ----------
    source, table
        File and its form.
    names
        Names of the columns.
    numbers
        Name and position of the columns that hold numbers.
    rows
        Lines to search.
    error
        Error of the library, which is shown if no wrong line is found here.
    """
    try:
        text = rows.data.decode()
    except UnicodeDecodeError as wrong:
        line = rows.first_line + line_ends(rows.data[: wrong.start])
        byte = rows.data[wrong.start : wrong.start + 1].hex()
        return UserError(f"{source}, line {line}: got the byte 0x{byte}, expected text in UTF-8: {ENCODING_HINT}")
    broken_off = line_ends(rows.data) if rows.last else -1  # a last line without an end
    for number, row in csv_rows(io.StringIO(text, newline=""), table):
        found = _wrong_row(table, names, numbers, row, cut_off=number - 1 == broken_off)
        if found is not None:
            line = rows.first_line + number - 1
            return UserError(f"{source}, line {line}{found}{header_hint(line, table, row, names)}")
    return UserError(f"cannot read {source}, from line {rows.first_line} on: {shortened(str(error))}")


def refuse_unclosed_quote(source: SourceFile, table: TableSection, rows: Lines) -> None:
    """Refuse an unclosed quote; a quote within text that is not quoted, as in ``5" pipe``, is allowed.

    The library would read all rows after an unclosed quote as part of its value.

    Raises
    ------
    UserError
        The message names the line of the row with the quote.
    """
    text = io.StringIO(rows.data.decode(errors="replace"), newline="")
    try:
        for _ in csv_rows(text, table, strict=True):
            pass
    except BrokenRowError as broken:
        raise UserError(
            f"{source}, line {rows.first_line + broken.line - 1}: got a quote {table.quote} that no other one closes, "
            "expected them in pairs: is the file complete? table.quote says which sign quotes"
        ) from None


def shortened(text: str) -> str:
    """Return the beginning of a text in one line."""
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _wrong_row(
    table: TableSection, names: Sequence[str], numbers: Sequence[tuple[str, int]], row: list[str], *, cut_off: bool
) -> str | None:
    if len(row) != len(names):
        hint = ""
        if len(row) == 1 and (other := _likely_delimiter(row[0], table.delimiter)) is not None:
            hint = f": it looks separated by {other!r}, expected {table.delimiter!r}"
        elif cut_off and len(row) < len(names):
            hint = ": the file ends within the row, as after a download that broke off"
        count = "1 column" if len(row) == 1 else f"{len(row)} columns"
        return f": got {count}, expected {len(names)}{hint}"
    for name, place in numbers:
        if (got := row[place]) not in MISSING_TEXTS and not _is_number(got):
            return f", column '{name}': got '{shortened(got)}', expected a number{number_hint(got)}"
    return None


def _likely_delimiter(text: str, expected: str) -> str | None:
    """Return the delimiter that a line seems to have instead of the expected one."""
    found = {other: text.count(other) for other in ",;\t|" if other != expected and other in text}
    return max(found, key=lambda other: found[other]) if found else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
