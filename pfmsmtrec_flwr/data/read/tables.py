"""The rows of one CSV or Parquet file, in blocks of whole columns, several of which are parsed at once.

A CSV file is read in pieces of some megabytes that end at the end of a line, and each piece is parsed by itself, so
that memory is bounded, a compressed file can be read, all cores are busy, and a row that cannot be read is looked for
in its piece alone (`diagnosis`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pfmsmtrec_flwr.data.read import diagnosis
from pfmsmtrec_flwr.data.read.parallel import in_order
from pfmsmtrec_flwr.data.read.progress import Advance
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.sections import TableSection
from pfmsmtrec_flwr.errors import UserError

PIECE_BYTES = 16 << 20
PARQUET_ROWS = 65_536
PARQUET_ENDINGS = {".parquet", ".pq"}

TEXT = pa.dictionary(pa.int32(), pa.string())
NUMBER = pa.float64()

_HEAD_BYTES = 1 << 16
_POOL = pa.system_memory_pool()  # an eighth less time than with the library's own, which lets go of memory sooner
_LONGEST_LINE = 256 << 20
_PARSED_BYTES = 1 << 20  # at a time, so that they stay in a core's cache
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class ColumnSelection:
    """Names of the columns to read, and as what."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        """Return every name once."""
        return tuple(dict.fromkeys((*self.texts, *self.numbers)))

    def type_of(self, name: str) -> pa.DataType:
        """Return the type it is read as; a column wanted as both is read as text."""
        return TEXT if name in self.texts else NUMBER


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rows of a file."""

    rows: pa.Table
    """Columns may be chunked."""
    first_line: Callable[[], int]
    """Finds the line of the first row, counted from 1; the header is a line too. It reads the file up to there."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole lines of a CSV file."""

    data: memoryview
    offset: int
    """Bytes before it, unpacked."""
    quoted: bool
    """Whether a quote stands in it."""
    last: bool
    """Whether the file ends with it."""


@dataclass(frozen=True, slots=True)
class _Header:
    """The columns' names, what was read beyond them, and at which byte that begins."""

    names: list[str]
    rest: bytes
    offset: int


def column_names(source: SourceFile, table: TableSection) -> list[str]:
    """Return the names of a file's columns.

    Raises
    ------
    UserError
        It cannot be read, is empty, or has a column twice.
    """
    if table.header:
        return list(table.header)
    if source.ending in PARQUET_ENDINGS:
        with _parquet(source) as parquet:
            return list(parquet.schema_arrow.names)
    with source.open() as (stream, _):
        return _read_header(source, table, stream).names


def read_blocks(source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance) -> Iterator[Block]:
    """Go once through a file; see `block_tasks`."""
    return in_order(block_tasks(source, table, columns, advance))


def block_tasks(
    source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance
) -> Iterator[Callable[[], Block]]:
    """Go once through a file; what is yielded are calls that parse the next block, for any thread to make.

    Parameters
    ----------
    source, table
        The file and its form.
    columns
        What is wanted; other columns are not converted.
    advance
        Is told the bytes that were read from the disk.

    Raises
    ------
    UserError
        A column is missing, a row has another number of columns, or a value cannot be read: with file and line. What
        is wrong within a block is raised by its call.
    """
    if source.ending in PARQUET_ENDINGS:
        yield from _parquet_tasks(source, table, columns, advance)
        return
    with source.open() as (stream, position):
        seen = position()  # in an archive other files lie before it
        header = _read_header(source, table, stream)
        require_columns(source, table, columns, header.names)
        for piece in _pieces(source, table, stream, header):
            yield partial(_parse, source, table, columns, header.names, piece)
            advance(position() - seen)
            seen = position()


def require_columns(source: SourceFile, table: TableSection, columns: ColumnSelection, names: Sequence[str]) -> None:
    """Refuse a table that lacks a column; say what is likely wrong with it.

    Raises
    ------
    UserError
        Names the first column that is missing.
    """
    for name in columns.all():
        if name not in names:
            raise diagnosis.missing_column(source, table, name, names)


def _parse(source: SourceFile, table: TableSection, columns: ColumnSelection, names: list[str], piece: Piece) -> Block:
    read = pacsv.ReadOptions(column_names=names, block_size=_PARSED_BYTES, use_threads=False)
    # Where no quote stands the library need not look for one.
    quote = table.quote if piece.quoted else False
    parse = pacsv.ParseOptions(delimiter=table.delimiter, quote_char=quote, newlines_in_values=piece.quoted)
    convert = pacsv.ConvertOptions(
        include_columns=list(columns.all()),
        column_types={name: columns.type_of(name) for name in columns.all()},
        null_values=list(table.missing),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    first_line = partial(line_at, source, piece.offset)
    if piece.last and piece.quoted and bytes(piece.data).count(table.quote.encode()) % 2:
        diagnosis.refuse_unclosed_quote(source, table, diagnosis.Lines(bytes(piece.data), first_line(), piece.last))
    try:
        rows = pacsv.read_csv(pa.py_buffer(piece.data), read, parse, convert, memory_pool=_POOL)
        return Block(rows, first_line)
    except pa.ArrowInvalid as error:
        numbers = [(name, names.index(name)) for name in columns.numbers if name not in columns.texts]
        rows = diagnosis.Lines(bytes(piece.data), first_line(), piece.last)
        raise diagnosis.explain(source, table, len(names), numbers, rows, error) from None


def line_at(source: SourceFile, offset: int) -> int:
    """Return the line, counted from 1, that begins behind so many bytes of a file."""
    lines, left = 1, offset
    previous = b""
    with source.open() as (stream, _):
        while left and (data := stream.read(min(left, PIECE_BYTES))):
            lines += diagnosis.line_ends(previous + data) - diagnosis.line_ends(previous)
            left -= len(data)
            previous = data[-1:]  # a carriage return and a line feed are one end
    return lines


def _read_header(source: SourceFile, table: TableSection, stream: BinaryIO) -> _Header:
    start = stream.read(_HEAD_BYTES)
    if start.startswith(_UTF16_MARKS):
        raise UserError(f"{source}: it is text in UTF-16, expected UTF-8: convert it")
    mark = len(_UTF8_MARK) if start.startswith(_UTF8_MARK) else 0
    start = start[mark:]
    if not start.strip():
        raise UserError(f"cannot read {source}: Empty CSV file")
    if table.header:
        return _Header(list(table.header), start, mark)
    while (end := _end_of_line(start)) < 0 and (more := stream.read(_HEAD_BYTES)):
        start += more
    end = len(start) if end < 0 else end
    names: list[str] = []
    with suppress(UnicodeDecodeError, StopIteration, csv.Error):
        names = next(csv.reader([start[:end].decode()], delimiter=table.delimiter, quotechar=table.quote))
    if not names:
        raise UserError(f"{source}, line 1: got no text in UTF-8, expected the names of the columns")
    names = [name.strip() for name in names]
    diagnosis.refuse_repeated(source, names)
    return _Header(names, start[end:], mark + end)


def _pieces(source: SourceFile, table: TableSection, stream: BinaryIO, header: _Header) -> Iterator[Piece]:
    """Cut a stream behind the ends of lines that stand outside of quotes."""
    quote = table.quote.encode()
    rest: bytes | memoryview = header.rest
    offset = header.offset
    whole = True
    while whole:
        buffer = bytearray(max(PIECE_BYTES, 2 * len(rest)))  # a new one: the piece before may still be parsed
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


def _fill(stream: BinaryIO, view: memoryview) -> int:
    """Read until a view is full or the stream ends; return how much was read."""
    filled = 0
    while filled < len(view) and (count := stream.readinto(view[filled:])):  # type: ignore[attr-defined]
        filled += count
    return filled


def _last_cut(data: bytearray, filled: int, quoting: TableSection | None) -> int:
    """Return the position behind the last line end outside of quotes, if any; 0 if there is none."""
    cut = data.rfind(b"\n", 0, filled) + 1 or data.rfind(b"\r", 0, filled - 1) + 1
    while quoting is not None and data.count(quoting.quote.encode(), 0, cut) % 2:  # within quotes, it seems
        opening = _open_quote(data, cut, quoting)
        if opening is None:
            break
        cut = data.rfind(b"\n", 0, opening) + 1  # which may be within quotes itself
    return cut


def _open_quote(data: bytearray, filled: int, table: TableSection) -> int | None:
    """Return where a quoted value begins that does not end; a quote within other text, as in ``5" pipe``, is none."""
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


def _end_of_line(data: bytes) -> int:
    """Return the position behind the first line end; -1 if there is none."""
    ends = [place for end in (b"\n", b"\r") if (place := data.find(end)) >= 0]
    if not ends:
        return -1
    first = min(ends)
    return first + (2 if data[first : first + 2] == b"\r\n" else 1)


def _parquet_tasks(
    source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance
) -> Iterator[Callable[[], Block]]:
    with _parquet(source) as parquet, _clear_parquet(source):
        require_columns(source, table, columns, parquet.schema_arrow.names)
        size, rows = source.size(), max(1, parquet.metadata.num_rows)
        line = 1
        for batch in parquet.iter_batches(batch_size=PARQUET_ROWS, columns=list(columns.all())):
            yield partial(_parquet_block, source, table, columns, line, batch)
            line += batch.num_rows
            advance(size * batch.num_rows // rows)


def _parquet_block(
    source: SourceFile, table: TableSection, columns: ColumnSelection, line: int, batch: pa.RecordBatch
) -> Block:
    typed = [_as_wanted(source, _without_missing(batch.column(name), table), name, columns) for name in columns.all()]
    return Block(pa.Table.from_arrays(typed, names=list(columns.all())), lambda: line)


def _parquet(source: SourceFile) -> pq.ParquetFile:
    if source.packed:
        raise UserError(f"cannot read {source}: a Parquet file must lie on the disk as it is: unpack it")
    with _clear_parquet(source):
        return pq.ParquetFile(source.path)


@contextmanager
def _clear_parquet(source: SourceFile) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"cannot read {source}: {error}") from None


def _without_missing(column: pa.Array, table: TableSection) -> pa.Array:
    """Make missing what the table writes for it, where the column holds text."""
    if pa.types.is_dictionary(column.type):
        kept = _without_missing(column.dictionary, table)
        return pa.DictionaryArray.from_arrays(column.indices, kept)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    missing = pc.is_in(column, value_set=pa.array(table.missing, type=column.type))
    return pc.if_else(missing, pa.scalar(None, type=column.type), column)


def _as_wanted(source: SourceFile, column: pa.Array, name: str, columns: ColumnSelection) -> pa.Array:
    wanted = "text or plain values" if name in columns.texts else "numbers"
    try:
        if name not in columns.texts:
            return column.cast(NUMBER)
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            column = column.cast(pa.string())
        return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{source}, column '{name}': expected {wanted}, got {column.type} ({error})") from None
