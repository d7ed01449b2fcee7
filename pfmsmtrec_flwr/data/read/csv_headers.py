"""The beginning of a CSV file: marks of its encoding, the line ``sep=`` of Excel, and the names of the columns."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from pfmsmtrec_flwr.data.read.atomic_files import names_and_sequences
from pfmsmtrec_flwr.data.read.csv_rows import BrokenRowError, csv_rows
from pfmsmtrec_flwr.data.read.diagnosis import ENCODING_HINT, refuse_other_kinds, refuse_repeated
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.streams import line_ends
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

UTF8_MARK = b"\xef\xbb\xbf"

_HEAD_BYTES = 1 << 16
_SEPARATOR_LINE = re.compile(rb"\"?sep=([ -~\t])\"?[,;\t|]*(?:\r\n|\n|\r)", re.IGNORECASE)
_MOST_LINES = 100  # of a header with line ends in quotes
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """Names of the columns of a CSV file, and the bytes read after them.

    Attributes
    ----------
    table
        Form of the file.
    names
        Names of the columns.
    rest
        Bytes that were read after the header.
    offset
        Position of these bytes in the file.
    line
        Header line without its end; empty if the names come from the schema.
    end
        Last byte of its end.
    sequences
        Names of the columns with several values that spaces separate.
    """

    table: TableSection
    names: list[str]
    rest: bytes
    offset: int
    line: bytes = b""
    end: bytes = b""
    sequences: list[str] = field(default_factory=list)


def read_header(source: SourceFile, table: TableSection, stream: BinaryIO) -> CsvHeader:
    """Read the beginning of a file.

    Raises
    ------
    UserError
        The file is empty or no text in the encoding of `table`, has two columns of one name, or names a delimiter that
        is not that of `table`.
    """
    start = stream.read(_HEAD_BYTES)
    refuse_other_kinds(source, start)
    offset = len(UTF8_MARK) if start.startswith(UTF8_MARK) else 0
    line = 1
    if (named := _SEPARATOR_LINE.match(start, offset)) is not None:
        table = _with_delimiter(source, table, named[1].decode())
        offset, line = named.end(), 2
    rest = start[offset:]
    if not rest.strip():
        raise UserError(f"cannot read {source}: Empty CSV file")
    if table.header:
        return CsvHeader(table, list(table.header), rest, offset)
    text = rest.lstrip(b"\r\n")
    line += line_ends(rest[: len(rest) - len(text)])
    offset += len(rest) - len(text)
    while _LINE_END.search(text) is None and (more := stream.read(_HEAD_BYTES)):
        text += more
    if text.endswith(b"\r"):  # a line feed may follow
        text += stream.read(1)
    end, names = _names(source, table, text, line)
    if any("\0" in name for name in names):
        raise UserError(
            f"{source}, line {line}: got zero bytes, expected the names of the columns: is it UTF-16? "
            "set table.encoding to utf-16-le or utf-16-be"
        )
    names, sequences = names_and_sequences(source, [name.strip() for name in names])
    refuse_repeated(source, names, f", line {line}")
    header = text[:end].rstrip(b"\r\n")
    return CsvHeader(table, names, text[end:], offset + end, header, text[end - 1 : end], sequences)


def _with_delimiter(source: SourceFile, table: TableSection, delimiter: str) -> TableSection:
    """Return the form of a file whose first line names the delimiter."""
    if "delimiter" in table.model_fields_set and table.delimiter != delimiter:
        raise UserError(
            f"{source}, line 1: got sep={delimiter}, expected the delimiter {table.delimiter!r} of the schema: "
            "leave out table.delimiter, or correct it"
        )
    return table.model_copy(update={"delimiter": delimiter})


def _names(source: SourceFile, table: TableSection, text: bytes, line: int) -> tuple[int, list[str]]:
    """Return the position after the header, and its values. A name in quotes may contain line ends."""
    ends = [found.end() for found in islice(_LINE_END.finditer(text), _MOST_LINES)] or [len(text)]
    with suppress(UnicodeDecodeError):
        for end in ends:
            with suppress(BrokenRowError):
                return end, _row(text[:end], table, strict=True)
        return ends[0], _row(text[: ends[0]], table, strict=False)
    raise UserError(
        f"{source}, line {line}: got no text in UTF-8, expected the names of the columns: {ENCODING_HINT}"
    ) from None


def _row(text: bytes, table: TableSection, *, strict: bool) -> list[str]:
    return next(csv_rows(io.StringIO(text.decode(), newline=""), table, strict=strict))[1]
