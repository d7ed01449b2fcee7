"""Consecutive rows of a table as columns of text or numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pfmsmtrec_flwr.data.encode.encoders import CodedColumn, Integers, Texts, distinct_values, of_texts, without
from pfmsmtrec_flwr.data.encode.several import CodedLists
from pfmsmtrec_flwr.data.encode.times import Points, points_of
from pfmsmtrec_flwr.data.encode.written_numbers import plain_numbers, rounded_ids, stands_for_no_number
from pfmsmtrec_flwr.data.read.blocks import NUMBER, Block
from pfmsmtrec_flwr.data.read.diagnosis import header_hint, number_hint, shortened
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.column_form import PLAIN, ColumnForm
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.data.schema.time_section import TimeSection
from pfmsmtrec_flwr.errors import UserError


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows: their columns as text or numbers, and their place in the file."""

    source: SourceFile
    table: TableSection
    line_of: Callable[[int], int]
    """Function that returns the line of a row, counted from 1, header included."""
    columns: Mapping[str, pa.ChunkedArray]
    rows: int
    _distinct: dict[str, tuple[pa.Array, Integers]] = field(default_factory=dict, repr=False)
    _coded: dict[str, CodedColumn] = field(default_factory=dict, repr=False)
    _lists: dict[str, CodedLists] = field(default_factory=dict, repr=False)
    _points: dict[tuple[str, TimeSection], Points] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, source: SourceFile, table: TableSection, block: Block) -> Chunk:
        """Make a chunk of a block."""
        columns = {name: block.rows.column(name) for name in block.rows.schema.names}
        return cls(source, table, block.line_of, columns, block.rows.num_rows)

    def __len__(self) -> int:
        return self.rows

    def coded(self, name: str) -> CodedColumn:
        """Return a column as distinct canonical texts and an index.

        Raises
        ------
        UserError
            A text is not a number in the form of the column.
        """
        if name not in self._coded:
            self._coded[name] = self._in_form(name, self.table.form_of(name))
        return self._coded[name]

    def points(self, name: str, section: TimeSection) -> Points:
        """Return the points in time of the distinct texts of a column; they are parsed once."""
        if (name, section) not in self._points:
            self._points[name, section] = points_of(self.coded(name).values, section)
        return self._points[name, section]

    def rounded(self, names: Iterable[str]) -> dict[str, int]:
        """Count the rounded ids of each column of ids, if it holds some; see `rounded_ids`."""
        counts = {name: rounded_ids(*self._distinct[name]) for name in names}
        return {name: count for name, count in counts.items() if count}

    def _in_form(self, name: str, form: ColumnForm) -> CodedColumn:
        distinct, index = self._distinct[name] = distinct_values(self.columns[name])
        column = without(of_texts(distinct, index, form), form.missing, form)
        if not (form.is_number and pa.types.is_string(distinct.type)):
            return column
        plain = plain_numbers(distinct, form)
        unread = np.asarray(plain.is_null().to_numpy(zero_copy_only=False), dtype=bool)
        wrong = unread & (column.counts() > 0) & ~np.isnan(_parsed(column.values))  # a number in another form
        if wrong.any():
            raise self.error(name, column.lookup(wrong, False), f"expected a number such as {form.example}")
        return of_texts(pc.if_else(plain.is_null(), distinct, plain), column.index, PLAIN)

    def written(self, name: str) -> CodedColumn:
        """Return a column with its texts as they are written, for texts that hold several values.

        Missing values are those of `coded`, which would take ``1.10`` for a number, 1.1.
        """
        column = self.coded(name)
        distinct, index = self._distinct[name]
        if not pa.types.is_string(distinct.type):
            return column
        texts = np.asarray(distinct.to_numpy(zero_copy_only=False), dtype=object)
        return CodedColumn(texts, np.where(column.index < 0, -1, index))

    def lists(self, name: str, make: Callable[[], CodedLists]) -> CodedLists:
        """Return the lists of a field, which are made once."""
        if name not in self._lists:
            self._lists[name] = make()
        return self._lists[name]

    def numbers(self, name: str, missing: Sequence[str] = ()) -> npt.NDArray[np.float64]:
        """Return a column as numbers (n,); missing values are not-a-number.

        Parameters
        ----------
        name
            Name of the column.
        missing
            Words that stand for a missing value, beside `NUMBER_WORDS` and those of the column's form.

        Raises
        ------
        UserError
            A text is not a number.
        """
        column = self.columns[name]
        if pa.types.is_dictionary(column.type):
            text = without(self.coded(name), tuple(missing))
            parsed = _parsed(text.values)
            wrong = np.isnan(parsed) & (text.counts() > 0) & ~stands_for_no_number(text.values)
            if wrong.any():
                form = self.table.form_of(name)
                hint = f" such as {form.example}" if form.is_number else number_hint(text.values[wrong][0])
                raise self.error(name, text.lookup(wrong, False), f"expected a number{hint}")
            return text.lookup(parsed, np.nan)
        values = column.cast(NUMBER).to_numpy(zero_copy_only=False)
        return np.asarray(values, dtype=np.float64)

    def error(self, name: str, wrong: npt.NDArray[np.bool_], expected: str) -> UserError:
        """Return the error for the first wrong value of a column: file, line, column and value."""
        row = int(np.flatnonzero(wrong)[0])
        line = self.line_of(row)
        got = self.columns[name][row].as_py()
        shown = "an empty value" if got in (None, "") else f"'{shortened(str(got))}'"
        hint = header_hint(line, self.table, [str(got)], self.columns)
        return UserError(f"{self.source}, line {line}, column '{name}': got {shown}, {expected}{hint}")


def _parsed(texts: Texts) -> npt.NDArray[np.float64]:
    return np.asarray(pd.to_numeric(texts, errors="coerce"), dtype=np.float64)
