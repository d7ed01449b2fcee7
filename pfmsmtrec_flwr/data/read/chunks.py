"""Consecutive rows of a table as columns of text or numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pfmsmtrec_flwr.data.encode.encoders import CodedColumn, coded
from pfmsmtrec_flwr.data.encode.several import CodedLists
from pfmsmtrec_flwr.data.read.blocks import NUMBER, Block
from pfmsmtrec_flwr.data.read.diagnosis import header_hint
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows: their columns as text or numbers, and their place in the file."""

    source: SourceFile
    table: TableSection
    first_line: Callable[[], int]
    """Function that returns the line of the first row, counted from 1, header included."""
    columns: Mapping[str, pa.ChunkedArray]
    rows: int
    _coded: dict[str, CodedColumn] = field(default_factory=dict, repr=False)
    _lists: dict[str, CodedLists] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, source: SourceFile, table: TableSection, block: Block) -> Chunk:
        """Make a chunk of a block."""
        columns = {name: block.rows.column(name) for name in block.rows.schema.names}
        return cls(source, table, block.first_line, columns, block.rows.num_rows)

    def __len__(self) -> int:
        return self.rows

    def coded(self, name: str) -> CodedColumn:
        """Return a column as distinct canonical texts and an index."""
        if name not in self._coded:
            self._coded[name] = coded(self.columns[name])
        return self._coded[name]

    def lists(self, name: str, make: Callable[[], CodedLists]) -> CodedLists:
        """Return the lists of a field, which are made once."""
        if name not in self._lists:
            self._lists[name] = make()
        return self._lists[name]

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return a column as numbers (n,); missing values are not-a-number.

        Raises
        ------
        UserError
            A text is not a number.
        """
        column = self.columns[name]
        if pa.types.is_dictionary(column.type):
            text = self.coded(name)
            parsed = np.asarray(pd.to_numeric(text.values, errors="coerce"), dtype=np.float64)
            wrong = np.isnan(parsed) & (text.counts() > 0)
            if wrong.any():
                raise self.error(name, text.lookup(wrong, False), "expected a number")
            return text.lookup(parsed, np.nan)
        values = column.cast(NUMBER).to_numpy(zero_copy_only=False)
        return np.asarray(values, dtype=np.float64)

    def error(self, name: str, wrong: npt.NDArray[np.bool_], expected: str) -> UserError:
        """Return the error for the first wrong value of a column: file, line, column and value.

        The line is exact if no quoted text contains a line end and no line is empty.
        """
        row = int(np.flatnonzero(wrong)[0])
        line = self.first_line() + row
        got = self.columns[name][row].as_py()
        shown = "an empty value" if got is None else f"'{got}'"
        hint = header_hint(line, self.table)
        return UserError(f"{self.source}, line {line}, column '{name}': got {shown}, {expected}{hint}")
