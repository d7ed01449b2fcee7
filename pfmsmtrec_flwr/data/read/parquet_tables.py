"""Rows of a Parquet file, in blocks of whole columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import add

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pfmsmtrec_flwr.data.encode.several import LIST_SEPARATOR
from pfmsmtrec_flwr.data.read.blocks import NUMBER, TEXT, Advance, Block, ColumnSelection
from pfmsmtrec_flwr.data.read.diagnosis import refuse_repeated, require_columns
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

PARQUET_ROWS = 65_536


def parquet_names(source: SourceFile) -> list[str]:
    """Return the names of a Parquet file's columns.

    Raises
    ------
    UserError
        The file cannot be read, or has two columns of the same name.
    """
    with _opened(source) as parquet:
        return _names(source, parquet)


def parquet_tasks(
    source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance
) -> Iterator[Callable[[], Block]]:
    """Yield calls that convert the next block of a Parquet file; see `tables.block_tasks`."""
    with _opened(source) as parquet, _clear_parquet(source):
        require_columns(source, table, columns, _names(source, parquet))
        size, rows = source.size(), max(1, parquet.metadata.num_rows)
        line = 1
        for batch in parquet.iter_batches(batch_size=PARQUET_ROWS, columns=list(columns.all())):
            yield partial(typed_block, source, columns, line, batch)
            line += batch.num_rows
            advance(size * batch.num_rows // rows)


def typed_block(source: SourceFile, columns: ColumnSelection, line: int, batch: pa.RecordBatch) -> Block:
    """Return a batch of rows as a block with the wanted types; `line` is the line of its first row.

    Raises
    ------
    UserError
        A column has another type, or holds a text that is no number.
    """
    typed = [_as_wanted(source, batch.column(name), name, columns) for name in columns.all()]
    return Block(pa.Table.from_arrays(typed, names=list(columns.all())), partial(add, line))


def _names(source: SourceFile, parquet: pq.ParquetFile) -> list[str]:
    names = list(parquet.schema_arrow.names)
    refuse_repeated(source, names)
    return names


def _opened(source: SourceFile) -> pq.ParquetFile:
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


def _as_wanted(source: SourceFile, column: pa.Array, name: str, columns: ColumnSelection) -> pa.Array:
    wanted = "text or plain values" if name in columns.texts else "numbers"
    try:
        column = _plainly_stored(column)
        if name not in columns.texts and not _is_text(column.type):
            if pa.types.is_float32(column.type):
                column = column.cast(pa.string())  # 0.7 is 0.7 as in a CSV file, not 0.699999988
            return column.cast(NUMBER, safe=not pa.types.is_integer(column.type))  # integers beyond 2^53 are rounded
        if name in columns.lists and pa.types.is_nested(column.type):
            return _joined_lists(column)
        return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{source}, column '{name}': expected {wanted}, got {column.type} ({error})") from None


def _plainly_stored(column: pa.Array) -> pa.Array:
    """Return texts that are stored as bytes, views or runs as plain texts, and other columns as they are."""
    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        column, kind = pc.run_end_decode(column), kind.value_type
    stored = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string_view, pa.types.is_binary_view)
    return column.cast(pa.string()) if any(is_kind(kind) for is_kind in stored) else column


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _joined_lists(column: pa.Array) -> pa.Array:
    """Return lists of plain values as texts; a list without values is null."""
    texts = [
        LIST_SEPARATOR.join(str(value) for value in values if value is not None) or None if values else None
        for values in column.to_pylist()
    ]
    return pa.array(texts, type=pa.string()).cast(TEXT)
