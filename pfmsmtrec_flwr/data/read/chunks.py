"""Some consecutive rows of one table, as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pfmsmtrec_flwr.data.encode.encoders import CodedColumn, coded
from pfmsmtrec_flwr.data.read.blocks import NUMBER, Block
from pfmsmtrec_flwr.data.read.diagnosis import header_hint
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.tables import TableSection
from pfmsmtrec_flwr.errors import UserError


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows, where they stand, and their columns as text or numbers."""

    source: SourceFile
    table: TableSection
    first_line: Callable[[], int]
    """Finds the line of the first row, counted from 1; the header is a line too."""
    columns: Mapping[str, pa.ChunkedArray]
    rows: int
    _coded: dict[str, CodedColumn] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, source: SourceFile, table: TableSection, block: Block) -> Chunk:
        """Wrap a block of a file."""
        columns = {name: block.rows.column(name) for name in block.rows.schema.names}
        return cls(source, table, block.first_line, columns, block.rows.num_rows)

    def __len__(self) -> int:
        return self.rows

    def coded(self, name: str) -> CodedColumn:
        """Return a column as distinct canonical texts and an index."""
        if name not in self._coded:
            self._coded[name] = coded(self.columns[name])
        return self._coded[name]

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return a numeric column; not-a-number where the value is missing.

        Raises
        ------
        UserError
            Text that is no number.
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
        """Describe the first wrong value of a column: file, line, column, what was got.

        The line is right where neither quoted text holds a line end nor lines are empty.
        """
        row = int(np.flatnonzero(wrong)[0])
        line = self.first_line() + row
        got = self.columns[name][row].as_py()
        shown = "an empty value" if got is None else f"'{got}'"
        hint = header_hint(line, self.table)
        return UserError(f"{self.source}, line {line}, column '{name}': got {shown}, {expected}{hint}")
