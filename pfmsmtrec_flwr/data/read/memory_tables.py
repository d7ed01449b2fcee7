"""Rows of a table in memory, in the blocks in which a Parquet file is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from pfmsmtrec_flwr.data.read.blocks import Block, ColumnSelection
from pfmsmtrec_flwr.data.read.diagnosis import require_columns
from pfmsmtrec_flwr.data.read.parquet_tables import PARQUET_ROWS, typed_block
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection


@dataclass(frozen=True, slots=True, eq=False)
class MemoryTable(SourceFile):
    """Table in memory. Its path only stands for it in messages."""

    rows: pa.Table = field(kw_only=True)

    @property
    def ending(self) -> str:
        """Ending of a file of this form."""
        return ".parquet"

    def size(self) -> int:
        """Return the number of bytes in memory."""
        return int(self.rows.nbytes)


def memory_tasks(source: MemoryTable, table: TableSection, columns: ColumnSelection) -> Iterator[Callable[[], Block]]:
    """Yield calls that convert the next block of a table in memory; see `tables.block_tasks`."""
    require_columns(source, table, columns, source.rows.schema.names)
    line = 1
    for batch in source.rows.select(list(columns.all())).to_batches(max_chunksize=PARQUET_ROWS):
        yield partial(typed_block, source, columns, line, batch)
        line += batch.num_rows
