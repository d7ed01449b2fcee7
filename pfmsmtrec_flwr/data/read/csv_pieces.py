"""Pieces of a CSV file that end at the end of a line, so that each can be parsed by itself."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from pfmsmtrec_flwr.data.read.csv_headers import UTF8_MARK, CsvHeader
from pfmsmtrec_flwr.data.read.csv_rows import csv_rows
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.streams import LineCounter
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

PIECE_BYTES = 16 << 20

_LONGEST_LINE = 256 << 20
_TEXT = re.compile(rb"[^\r\n]")
_AROUND_LINE = (b"", b"\r", b"\n")


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole lines of a CSV file."""

    data: memoryview
    offset: int
    """Position of the piece in the unpacked file, in bytes."""
    quoted: bool
    """True if the piece contains a quote."""
    last: bool
    """True if the file ends with the piece."""


def pieces(source: SourceFile, header: CsvHeader, stream: BinaryIO) -> Iterator[Piece]:
    """Yield the pieces of a stream after its header, cut after line ends outside of quotes.

    Lines that repeat the header, as in files that were joined, are left out.
    """
    quote = header.table.quote.encode()
    rest: bytes | memoryview = header.rest
    offset, repeated = header.offset, 0
    whole = True
    while whole:
        buffer = bytearray(max(PIECE_BYTES, 2 * len(rest)))  # a new buffer, as the piece before may still be parsed
        buffer[: len(rest)] = rest
        filled = len(rest) + _fill(stream, memoryview(buffer)[len(rest) :])
        whole = filled == len(buffer)
        quoted = buffer.find(quote, 0, filled) >= 0
        cut = _last_cut(buffer, filled, header.table if quoted else None) if whole else filled
        if cut == 0 and len(buffer) > _LONGEST_LINE:
            why = "is a quote not closed? table.quote says which sign quotes" if quoted else "is it a text table?"
            line = line_at(source, header.table, offset)
            raise UserError(f"{source}, line {line}: no end of the line within {len(buffer)} bytes: {why}")
        begin = 0
        for end, after in [*_headers(buffer, cut, header, quoted), (cut, cut)]:
            repeated += after > end
            if _TEXT.search(buffer, begin, end):
                yield Piece(memoryview(buffer)[begin:end], offset + begin, quoted=quoted, last=not whole and end == cut)
            begin = after
        rest = memoryview(buffer)[cut:filled]
        offset += cut
    if repeated:
        logger.info("%s: %d lines that repeat the header left out", source, repeated)


def line_at(source: SourceFile, table: TableSection, offset: int) -> int:
    """Return the line, counted from 1, that begins at `offset` bytes of the unpacked file."""
    with source.open(table.encoding) as (stream, _):
        return _line_after(stream, offset)


def line_of(source: SourceFile, table: TableSection, offset: int, row: int) -> int:
    """Return the line, counted from 1, of a row; row 0 begins at `offset` bytes of the unpacked file, or below."""
    with source.open(table.encoding) as (stream, _):
        first = _line_after(stream, offset)
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        return first - 1 + next(islice(csv_rows(text, table), row, None))[0]


def _line_after(stream: BinaryIO, offset: int) -> int:
    lines, left = LineCounter(), offset
    while left and (data := stream.read(min(left, PIECE_BYTES))):
        lines.add(data)
        left -= len(data)
    return 1 + lines.count


def _headers(data: bytearray, filled: int, header: CsvHeader, quoted: bool) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each line outside of quotes that repeats the header, without its line end.

    A header of one column is none: its name may be a value.
    """
    line = header.line if len(header.names) > 1 else b""
    begin = data.find(line, 0, filled) if line else -1
    while begin >= 0:
        end = begin + len(line)
        first = begin - len(UTF8_MARK) if data.endswith(UTF8_MARK, 0, begin) else begin
        alone = data[first - 1 : first] in _AROUND_LINE and data[end : min(end + 1, filled)] in _AROUND_LINE
        if alone and not (quoted and data.count(header.table.quote.encode(), 0, first) % 2):
            yield first, end
        begin = data.find(line, end, filled)


def _fill(stream: BinaryIO, view: memoryview) -> int:
    """Read until a view is full or the stream ends, and return the number of bytes read."""
    filled = 0
    while filled < len(view) and (count := stream.readinto(view[filled:])):  # type: ignore[attr-defined]
        filled += count
    return filled


def _last_cut(data: bytearray, filled: int, quoting: TableSection | None) -> int:
    """Return the position after the last line end outside of quotes; 0 if there is none."""
    cut = data.rfind(b"\n", 0, filled) + 1 or data.rfind(b"\r", 0, filled - 1) + 1
    while quoting is not None and data.count(quoting.quote.encode(), 0, cut) % 2:  # probably within quotes
        opening = _open_quote(data, cut, quoting)
        if opening is None:
            break
        cut = data.rfind(b"\n", 0, opening) + 1 or data.rfind(b"\r", 0, opening) + 1  # may be within quotes itself
    return cut


def _open_quote(data: bytearray, filled: int, table: TableSection) -> int | None:
    """Return the start of an unclosed quoted value. A quote within other text, as in ``5" pipe``, starts none."""
    quote, delimiter = re.escape(table.quote.encode()), re.escape(table.delimiter.encode())
    opening = re.compile(b"(?:^|(?<=[\r\n" + delimiter + b"]))" + quote)
    closing = re.compile(b"[^" + quote + b"]*(?:" + quote * 2 + b"[^" + quote + b"]*)*" + quote + b"(?!" + quote + b")")
    place = 0
    while (opened := opening.search(data, place, filled)) is not None:
        closed = closing.match(data, opened.end(), filled)
        if closed is None:
            return opened.start()
        place = closed.end()
    return None
