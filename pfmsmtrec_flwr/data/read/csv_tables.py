"""Rows of a CSV file, in blocks of whole columns.

The file is read in pieces of some megabytes that end at the end of a line, and each piece is parsed by itself. So
memory is bounded, compressed files can be read, all cores are used, and a row that cannot be read is searched for in
its piece alone (`diagnosis`).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from pfmsmtrec_flwr.data.encode.written_numbers import MISSING_TEXTS
from pfmsmtrec_flwr.data.read import diagnosis
from pfmsmtrec_flwr.data.read.atomic_files import names_and_sequences, split_sequences
from pfmsmtrec_flwr.data.read.blocks import TEXT, Advance, Block, ColumnSelection
from pfmsmtrec_flwr.data.read.csv_pieces import Piece, line_at, pieces
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

_HEAD_BYTES = 1 << 16
_PARSED_BYTES = 1 << 20  # at once, so that they fit a core's cache
_POOL = pa.system_memory_pool()  # takes an eighth less time than the library's own, which frees memory sooner
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class _Header:
    """Names of the columns, the bytes read after them, and the position of these bytes."""

    names: list[str]
    rest: bytes
    offset: int
    sequences: list[str] = field(default_factory=list)
    """Columns with several values that spaces separate."""


def csv_names(source: SourceFile, table: TableSection) -> list[str]:
    """Return the names of the columns in a header line.

    Raises
    ------
    UserError
        The file cannot be read, is empty, or has two columns of the same name.
    """
    with source.open() as (stream, _):
        return _read_header(source, table, stream).names


def csv_tasks(
    source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance
) -> Iterator[Callable[[], Block]]:
    """Yield calls that parse the next block of a CSV file; see `tables.block_tasks`."""
    with source.open() as (stream, position):
        seen = position()  # other files of an archive lie before this one
        header = _read_header(source, table, stream)
        diagnosis.require_columns(source, table, columns, header.names)
        for piece in pieces(source, table, stream, header.rest, header.offset):
            yield partial(_parse, source, table, columns, header, piece)
            advance(position() - seen)
            seen = position()


def _parse(source: SourceFile, table: TableSection, columns: ColumnSelection, header: _Header, piece: Piece) -> Block:
    names = header.names
    read = pacsv.ReadOptions(column_names=names, block_size=_PARSED_BYTES, use_threads=False, encoding=table.encoding)
    # Without a quote in the piece the library need not look for one.
    quote = table.quote if piece.quoted else False
    parse = pacsv.ParseOptions(delimiter=table.delimiter, quote_char=quote, newlines_in_values=piece.quoted)
    convert = pacsv.ConvertOptions(
        include_columns=list(columns.all()),
        column_types={name: columns.type_of(name) for name in columns.all()},
        null_values=list(MISSING_TEXTS),  # of numbers; in texts all words are values
        strings_can_be_null=False,
        quoted_strings_can_be_null=True,
    )
    first_line = partial(line_at, source, piece.offset)
    if piece.last and piece.quoted and bytes(piece.data).count(table.quote.encode()) % 2:
        diagnosis.refuse_unclosed_quote(source, table, diagnosis.Lines(bytes(piece.data), first_line(), piece.last))
    try:
        rows = pacsv.read_csv(pa.py_buffer(piece.data), read, parse, convert, memory_pool=_POOL)
        rows = _without_empty_texts(rows, columns.texts)
        return Block(split_sequences(rows, [name for name in header.sequences if name in columns.lists]), first_line)
    except pa.ArrowInvalid as error:
        numbers = [(name, names.index(name)) for name in columns.numbers if name not in columns.texts]
        lines = diagnosis.Lines(bytes(piece.data), first_line(), piece.last)
        raise diagnosis.explain(source, table, len(names), numbers, lines, error) from None


def _without_empty_texts(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return rows in whose columns of text `names` an empty text is null."""
    for name in names:
        chunks = []
        for chunk in rows.column(name).chunks:
            place = pc.index(chunk.dictionary, "").as_py()
            known = chunk.indices if place < 0 else pc.if_else(pc.equal(chunk.indices, place), None, chunk.indices)
            chunks.append(pa.DictionaryArray.from_arrays(known, chunk.dictionary))
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.chunked_array(chunks, type=TEXT))
    return rows


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
        names = next(csv.reader([start[:end].decode(table.encoding)], delimiter=table.delimiter, quotechar=table.quote))
    if not names:
        raise UserError(f"{source}, line 1: got no text in UTF-8, expected the names of the columns")
    names, sequences = names_and_sequences(source, [name.strip() for name in names])
    diagnosis.refuse_repeated(source, names)
    return _Header(names, start[end:], mark + end, sequences)


def _end_of_line(data: bytes) -> int:
    """Return the position after the first line end; -1 if there is none."""
    ends = [place for end in (b"\n", b"\r") if (place := data.find(end)) >= 0]
    if not ends:
        return -1
    first = min(ends)
    return first + (2 if data[first : first + 2] == b"\r\n" else 1)
