"""Errors for tables that cannot be read: file, line, column, what was got and what was expected.

The CSV library names neither the line of a text that is not a number nor the line of a row with a wrong number of
columns. So the lines in question are read once more, slowly.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pfmsmtrec_flwr.data.encode.written_numbers import MISSING_TEXTS
from pfmsmtrec_flwr.data.read.blocks import ColumnSelection
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

_SHOWN = 60
_WRITTEN_NUMBER = re.compile(r"[-+]?(?:[^\w\s]|[A-Z]{3})?\s*[-+]?\d[\d.,'\u2019\s]*(?:[^\w\s]|[A-Z]{3})?")


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a file."""

    data: bytes
    first_line: int
    last: bool
    """True if the file ends with these lines."""


def require_columns(source: SourceFile, table: TableSection, columns: ColumnSelection, names: Sequence[str]) -> None:
    """Refuse a table that lacks a column, and say what is probably wrong with it.

    Raises
    ------
    UserError
        The message names the first missing column.
    """
    for name in columns.all():
        if name not in names:
            raise missing_column(source, table, name, names)


def missing_column(source: SourceFile, table: TableSection, name: str, names: Sequence[str]) -> UserError:
    """Return the error for a missing column."""
    shown = ", ".join(names)
    if len(names) == 1 and (other := _likely_delimiter(names[0], table.delimiter)) is not None:
        return UserError(
            f"{source}, line 1: got one column, '{_shortened(names[0])}', which looks separated by {other!r}, expected "
            f"{table.delimiter!r}: set table.delimiter, or convert the file"
        )
    if all(_is_number(each) for each in names):
        return UserError(
            f"{source}, line 1: got '{_shortened(shown)}', which looks like a row, expected a header line with the "
            f"column '{name}': add it, or name the columns in table.header"
        )
    return UserError(f"{source}: no column '{name}'; it has {shown}")


def refuse_repeated(source: SourceFile, names: Sequence[str]) -> None:
    """Refuse a header that repeats a name. Repeated numbers mean a missing header and are reported elsewhere.

    Raises
    ------
    UserError
        The message names the column.
    """
    for place, name in enumerate(names):
        if name in names[:place] and name and not _is_number(name):
            raise UserError(f"{source}, line 1: the column '{name}' occurs twice")


def header_hint(line: int, table: TableSection) -> str:
    """Return a hint for an error in line 1, where an unexpected header may be."""
    return ": does the file begin with a header line? It must not" if line == 1 and table.header else ""


def number_hint(text: str) -> str:
    """Return a hint for a text that may be a number in a form of its own."""
    if _WRITTEN_NUMBER.fullmatch(text.strip()):
        return ": is it written so? State it in table.columns: decimal, thousands, signs"
    return ""


def explain(
    source: SourceFile,
    table: TableSection,
    columns: int,
    numbers: Sequence[tuple[str, int]],
    rows: Lines,
    error: Exception,
) -> UserError:
    """Return the error for lines that could not be parsed.

    Parameters
    ----------
    source, table
        File and its form.
    columns
        Number of columns of a row.
    numbers
        Name and position of the columns that hold numbers.
    rows
        Lines to search.
    error
        Error of the library, which is shown if no wrong line is found here.
    """
    try:
        text = rows.data.decode(table.encoding)
    except UnicodeDecodeError as wrong:
        line = rows.first_line + line_ends(rows.data[: wrong.start])
        byte = rows.data[wrong.start : wrong.start + 1].hex()
        return UserError(f"{source}, line {line}: got the byte 0x{byte}, expected text in UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=table.delimiter, quotechar=table.quote)
    broken_off = rows.first_line + line_ends(rows.data) if rows.last else 0  # a last line without an end
    line = rows.first_line
    try:
        for row in reader:
            found = _wrong_row(table, columns, numbers, row, cut_off=line == broken_off) if row else None
            if found is not None:
                return UserError(f"{source}, line {line}{found}{header_hint(line, table)}")
            line = rows.first_line + reader.line_num
    except csv.Error as wrong:
        return UserError(f"{source}, line {line}: {wrong}")
    return UserError(f"cannot read {source}, from line {rows.first_line} on: {error}")


def refuse_unclosed_quote(source: SourceFile, table: TableSection, rows: Lines) -> None:
    """Refuse an unclosed quote; a quote within text that is not quoted, as in ``5" pipe``, is allowed.

    The library would read all rows after an unclosed quote as part of its value.

    Raises
    ------
    UserError
        The message names the line of the row with the quote.
    """
    text = io.StringIO(rows.data.decode(table.encoding, errors="replace"), newline="")
    reader = csv.reader(text, delimiter=table.delimiter, quotechar=table.quote, strict=True)
    line = rows.first_line
    try:
        for _ in reader:
            line = rows.first_line + reader.line_num
    except csv.Error:
        raise UserError(
            f"{source}, line {line}: got a quote {table.quote} that no other one closes, expected them in pairs: "
            "is the file complete? table.quote says which sign quotes"
        ) from None


def line_ends(data: bytes) -> int:
    """Count the line ends of every kind."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def _wrong_row(
    table: TableSection, columns: int, numbers: Sequence[tuple[str, int]], row: list[str], *, cut_off: bool
) -> str | None:
    if len(row) != columns:
        hint = ""
        if len(row) == 1 and (other := _likely_delimiter(row[0], table.delimiter)) is not None:
            hint = f": it looks separated by {other!r}, expected {table.delimiter!r}"
        elif cut_off and len(row) < columns:
            hint = ": the file ends within the row, as after a download that broke off"
        count = "1 column" if len(row) == 1 else f"{len(row)} columns"
        return f": got {count}, expected {columns}{hint}"
    for name, place in numbers:
        if row[place] not in MISSING_TEXTS and not _is_number(row[place]):
            return f", column '{name}': got '{_shortened(row[place])}', expected a number{number_hint(row[place])}"
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


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
