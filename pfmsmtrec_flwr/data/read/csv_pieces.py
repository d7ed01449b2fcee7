"""Pieces of a CSV file that end at the end of a line, so that each can be parsed by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pfmsmtrec_flwr.data.read.diagnosis import line_ends
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

PIECE_BYTES = 16 << 20

_LONGEST_LINE = 256 << 20


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


def pieces(source: SourceFile, table: TableSection, stream: BinaryIO, start: bytes, offset: int) -> Iterator[Piece]:
    """Yield the pieces of a stream, cut after line ends outside of quotes.

    `start` holds bytes that were already read, and `offset` is their position in the file.
    """
    quote = table.quote.encode()
    rest: bytes | memoryview = start
    whole = True
    while whole:
        buffer = bytearray(max(PIECE_BYTES, 2 * len(rest)))  # a new buffer, as the piece before may still be parsed
        buffer[: len(rest)] = rest
        filled = len(rest) + _fill(stream, memoryview(buffer)[len(rest) :])
        whole = filled == len(buffer)
        quoted = buffer.find(quote, 0, filled) >= 0
        cut = _last_cut(buffer, filled, table if quoted else None) if whole else filled
        if cut == 0 and len(buffer) > _LONGEST_LINE:
            why = "is a quote not closed? table.quote says which sign quotes" if quoted else "is it a text table?"
            line = line_at(source, offset)
            raise UserError(f"{source}, line {line}: no end of the line within {len(buffer)} bytes: {why}")
        if cut and (whole or buffer[:cut].strip(b"\r\n")):
            yield Piece(memoryview(buffer)[:cut], offset, quoted=quoted, last=not whole)
        rest = memoryview(buffer)[cut:filled]
        offset += cut


def line_at(source: SourceFile, offset: int) -> int:
    """Return the line, counted from 1, that begins at `offset` bytes of the unpacked file."""
    lines, left = 1, offset
    previous = b""
    with source.open() as (stream, _):
        while left and (data := stream.read(min(left, PIECE_BYTES))):
            lines += line_ends(previous + data) - line_ends(previous)
            left -= len(data)
            previous = data[-1:]  # a carriage return and a line feed are one line end
    return lines


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
        cut = data.rfind(b"\n", 0, opening) + 1  # may be within quotes itself
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
