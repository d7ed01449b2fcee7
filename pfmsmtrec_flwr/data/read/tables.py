"""The rows of one CSV or Parquet file, in blocks of whole columns, several of which are made at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pfmsmtrec_flwr.data.read.blocks import Advance, Block, ColumnSelection
from pfmsmtrec_flwr.data.read.csv_tables import csv_names, csv_tasks
from pfmsmtrec_flwr.data.read.parallel import in_order
from pfmsmtrec_flwr.data.read.parquet_tables import parquet_names, parquet_tasks
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.tables import TableSection

PARQUET_ENDINGS = {".parquet", ".pq"}


def column_names(source: SourceFile, table: TableSection) -> list[str]:
    """Return the names of a file's columns.

    Raises
    ------
    UserError
        The file cannot be read, is empty, or has a column twice.
    """
    if table.header:
        return list(table.header)
    return parquet_names(source) if source.ending in PARQUET_ENDINGS else csv_names(source, table)


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
    tasks = parquet_tasks if source.ending in PARQUET_ENDINGS else csv_tasks
    return tasks(source, table, columns, advance)
