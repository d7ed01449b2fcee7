"""Rows of a CSV or Parquet file, in blocks of whole columns that are parsed in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from pfmsmtrec_flwr.data.read.atomic_files import ATOMIC_ENDINGS, form_of
from pfmsmtrec_flwr.data.read.blocks import Advance, Block, ColumnSelection
from pfmsmtrec_flwr.data.read.csv_tables import csv_names, csv_tasks
from pfmsmtrec_flwr.data.read.folder_keys import folder_keys, with_folder_keys
from pfmsmtrec_flwr.data.read.memory_tables import MemoryTable, memory_tasks
from pfmsmtrec_flwr.data.read.parallel import in_order
from pfmsmtrec_flwr.data.read.parquet_tables import parquet_names, parquet_tasks
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection

PARQUET_ENDINGS = {".parquet", ".pq"}
LIST_ENDINGS = PARQUET_ENDINGS | ATOMIC_ENDINGS
"""Endings of files whose columns can be lists."""


def column_names(source: SourceFile, table: TableSection) -> list[str]:
    """Return the names of a file's columns, and the keys in the names of its folders.

    Raises
    ------
    UserError
        The file cannot be read, is empty, or has two columns of the same name.
    """
    names = _own_names(source, table)
    return [*names, *(key for key in folder_keys(source) if key not in names)]


def read_blocks(source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance) -> Iterator[Block]:
    """Yield the blocks of a file in order; see `block_tasks`."""
    return in_order(block_tasks(source, table, columns, advance))


def block_tasks(
    source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance
) -> Iterator[Callable[[], Block]]:
    """Yield a call for each block of a file. Any thread may make the call, which parses the block.

    Parameters
    ----------
    source, table
        File and its form.
    columns
        Columns to read; others are not converted.
    advance
        Called with the number of bytes read from the disk.

    Raises
    ------
    UserError
        A column is missing, a row has a different number of columns, or a value cannot be read. The message names
        file and line. Errors within a block are raised by its call.
    """
    if isinstance(source, MemoryTable):
        return memory_tasks(source, table, columns)
    columns = columns.with_texts(table.columns)
    if not folder_keys(source).keys() & set(columns.all()):
        return _file_tasks(source, table, columns, advance)
    own = _own_names(source, table)
    keys = {key: value for key, value in folder_keys(source).items() if key not in own}
    there = columns.without(keys)
    there = there if there.all() else ColumnSelection(tuple(own[:1]), lists=tuple(own[:1]))  # for the number of rows
    tasks = _file_tasks(source, table, there, advance)
    return (partial(_with_keys, task, keys, columns) for task in tasks)


def _own_names(source: SourceFile, table: TableSection) -> list[str]:
    if isinstance(source, MemoryTable):
        return list(source.rows.schema.names)
    if table.header:
        return list(table.header)
    return parquet_names(source) if source.ending in PARQUET_ENDINGS else csv_names(source, form_of(source, table))


def _file_tasks(
    source: SourceFile, table: TableSection, columns: ColumnSelection, advance: Advance
) -> Iterator[Callable[[], Block]]:
    tasks = parquet_tasks if source.ending in PARQUET_ENDINGS else csv_tasks
    return tasks(source, form_of(source, table), columns, advance)


def _with_keys(task: Callable[[], Block], keys: Mapping[str, str | None], columns: ColumnSelection) -> Block:
    return with_folder_keys(task(), keys, columns)
