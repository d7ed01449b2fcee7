"""What is wrong with a table that cannot be read: file, line, column, what was got, what was expected.

The library that reads tells neither the line of a text that is no number nor that of a row with a wrong number of
columns, so the lines in question are gone through once more, slowly.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from pfmsmtrec_flwr.data.read.blocks import ColumnSelection
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.tables import TableSection
from pfmsmtrec_flwr.errors import UserError

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Lines:
    """Some whole lines of a file."""

    data: bytes
    first_line: int
    last: bool
    """Whether the file ends with them."""


def require_columns(source: SourceFile, table: TableSection, columns: ColumnSelection, names: Sequence[str]) -> None:
    """Refuse a table that lacks a column; say what is likely wrong with it.

    Raises
    ------
    UserError
        Names the first column that is missing.
    """
    for name in columns.all():
        if name not in names:
            raise missing_column(source, table, name, names)


def missing_column(source: SourceFile, table: TableSection, name: str, names: Sequence[str]) -> UserError:
    """Return the error for a column that a table lacks."""
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
    """Refuse a header that has a name twice; numbers are told as what they are, a missing header.

    Raises
    ------
    UserError
        Names the column.
    """
    for place, name in enumerate(names):
        if name in names[:place] and name and not _is_number(name):
            raise UserError(f"{source}, line 1: the column '{name}' is there twice")


def header_hint(line: int, table: TableSection) -> str:
    """Return what to add to an error in a line where a header may stand that is not expected."""
    return ": does the file begin with a header line? It must not" if line == 1 and table.header else ""


def explain(
    source: SourceFile,
    table: TableSection,
    columns: int,
    numbers: Sequence[tuple[str, int]],
    rows: Lines,
    error: Exception,
) -> UserError:
    """Return what is wrong with lines that could not be parsed.

    Parameters
    ----------
    source, table
        The file and its form.
    columns
        How many a row has.
    numbers
        Name and place of the columns that hold numbers.
    rows
        The lines.
    error
        What the library said, for what is found here neither.
    """
    try:
        text = rows.data.decode()
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
    """Refuse lines with an odd number of quotes, unless one stands within text that is not quoted, as in ``5" pipe``.

    The library would take whole rows behind a quote that is not closed for a part of its value.

    Raises
    ------
    UserError
        Names the line of the row in which the quote stands.
    """
    text = io.StringIO(rows.data.decode(errors="replace"), newline="")
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
    """Count the ends of lines, of whatever kind."""
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
        if row[place] not in table.missing and not _is_number(row[place]):
            return f", column '{name}': got '{_shortened(row[place])}', expected a number"
    return None


def _likely_delimiter(text: str, expected: str) -> str | None:
    """Return what else a line seems to be separated by."""
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
