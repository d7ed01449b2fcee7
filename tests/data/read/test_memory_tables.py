"""Tables in memory are read as Parquet files are: typed, in blocks, with errors that name the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pfmsmtrec_flwr.data.read import memory_tables
from pfmsmtrec_flwr.data.read.blocks import ColumnSelection, ignore
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.memory_tables import MemoryTable
from pfmsmtrec_flwr.data.read.tables import column_names, read_blocks
from pfmsmtrec_flwr.data.schema.column_form import ColumnForm
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError

FORMS = {"a": ColumnForm(missing=("none",))}
TABLE = TableSection(files=("any.csv",), header=("other", "names"), columns=FORMS)
ROWS = pa.table({"a": ["x", "none", "y"], "b": [1, 2, None], "c": [[1], [], None]})


def test_columns_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_tables, "PARQUET_ROWS", 2)
    source = MemoryTable("the rows", Path("the rows"), rows=ROWS)
    assert column_names(source, TABLE) == ["a", "b", "c"] and source.ending == ".parquet" and source.size() > 0
    blocks = list(read_blocks(source, TABLE, ColumnSelection(("a",), ("b",)), ignore))
    assert [block.rows.num_rows for block in blocks] == [2, 1]
    assert [block.line_of(0) for block in blocks] == [1, 3]
    chunks = [Chunk.of(source, TABLE, block) for block in blocks]
    assert chunks[0].coded("a").index.tolist() == [0, -1]
    assert chunks[0].numbers("b").tolist() == [1, 2]


def test_numbers_of_32_bits_are_those_that_they_are_written_as() -> None:
    numbers = pa.array([0.7, -4.3, 1e-30, 16777216, np.nan, np.inf, None], pa.float32())
    source = MemoryTable("the rows", Path("the rows"), rows=pa.table({"b": numbers}))
    for columns in (ColumnSelection((), ("b",)), ColumnSelection(("b",))):
        (block,) = read_blocks(source, TABLE, columns, ignore)
        found = Chunk.of(source, TABLE, block).numbers("b")
        np.testing.assert_array_equal(found, [0.7, -4.3, 1e-30, 16777216, np.nan, np.inf, np.nan])


def test_missing_columns_and_wrong_types_are_named() -> None:
    source = MemoryTable("the rows", Path("the rows"), rows=ROWS)
    with pytest.raises(UserError, match=r"^the rows: no column 'd'; it has a, b, c$"):
        list(read_blocks(source, TABLE, ColumnSelection(("d",)), ignore))
    (block,) = read_blocks(source, TABLE, ColumnSelection((), ("a",)), ignore)
    with pytest.raises(UserError, match=r"^the rows, line 1, column 'a': got 'x', expected a number"):
        Chunk.of(source, TABLE, block).numbers("a")
