"""Rows of a CSV file, in blocks of whole columns.

The file is read in pieces of some megabytes that end at the end of a line, and each piece is parsed by itself. So
memory is bounded, compressed files can be read, all cores are used, and a row that cannot be read is searched for in
its piece alone (`diagnosis`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from pfmsmtrec_flwr.data.encode.written_numbers import MISSING_TEXTS
from pfmsmtrec_flwr.data.read import diagnosis
from pfmsmtrec_flwr.data.read.atomic_files import split_sequences
from pfmsmtrec_flwr.data.read.blocks import TEXT, Advance, Block, ColumnSelection
from pfmsmtrec_flwr.data.read.csv_headers import CsvHeader, read_header
from pfmsmtrec_flwr.data.read.csv_pieces import Piece, line_at, line_of, pieces
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection

_PARSED_BYTES = 1 << 20  # at once, so that they fit a core's cache
_POOL = pa.system_memory_pool()  # takes an eighth less time than the library's own, which frees memory sooner


def csv_names(source: SourceFile, table: TableSection) -> list[str]:
    """Return the names of the columns in a header line.

    Raises
    ------
    UserError
        The file cannot be read, is empty, or has two columns of the same name.
    """
    with source.open(table.encoding) as (stream, _):
        return read_header(source, table, stream).names


def csv_tasks(
    source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance
) -> Iterator[Callable[[], Block]]:
    """Yield calls that parse the next block of a CSV file; see `tables.block_tasks`."""
    with source.open(table.encoding) as (stream, position):
        seen = position()  # other files of an archive lie before this one
        header = read_header(source, table, stream)
        diagnosis.require_columns(source, header.table, columns, header.names)
        for piece in pieces(source, header, stream):
            yield partial(_parse, source, columns, header, piece)
            advance(position() - seen)
            seen = position()


def _parse(source: SourceFile, columns: ColumnSelection, header: CsvHeader, piece: Piece) -> Block:
    names, table = header.names, header.table
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
    if piece.last and piece.quoted and bytes(piece.data).count(table.quote.encode()) % 2:
        diagnosis.refuse_unclosed_quote(source, table, _lines(source, table, piece))
    try:
        rows = _without_empty_texts(_read(piece, names, parse, convert), columns.texts)
    except pa.ArrowInvalid as error:
        numbers = [(name, names.index(name)) for name in columns.numbers if name not in columns.texts]
        raise diagnosis.explain(source, table, names, numbers, _lines(source, table, piece), error) from None
    rows = split_sequences(rows, [name for name in header.sequences if name in columns.lists])
    return Block(rows, partial(line_of, source, table, piece.offset))


def _read(piece: Piece, names: Sequence[str], parse: pacsv.ParseOptions, convert: pacsv.ConvertOptions) -> pa.Table:
    """Parse a piece in blocks that fit a cache, or in one where a row is longer than such a block."""
    for size in (_PARSED_BYTES, len(piece.data)):
        read = pacsv.ReadOptions(column_names=names, block_size=size, use_threads=False)
        try:
            return pacsv.read_csv(pa.py_buffer(piece.data), read, parse, convert, memory_pool=_POOL)
        except pa.ArrowInvalid:
            if size >= len(piece.data):
                raise
    raise AssertionError("the last size is that of the piece")


def _lines(source: SourceFile, table: TableSection, piece: Piece) -> diagnosis.Lines:
    return diagnosis.Lines(bytes(piece.data), line_at(source, table, piece.offset), piece.last)


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
