"""CSV and Parquet files in chunks of whole columns, side tables joined."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from pfmsmtrec_flwr.data.encoding import Coded, coded
from pfmsmtrec_flwr.data.schema import DatasetSchema, JoinSpec, TableSpec
from pfmsmtrec_flwr.errors import UserError

BLOCK_BYTES = 8 << 20
_HEADER_BYTES = 1 << 16
PARQUET_ROWS = 65_536
PARQUET_ENDINGS = {".parquet", ".pq"}

_TEXT = pa.dictionary(pa.int32(), pa.string())
_NUMBER = pa.float64()

Advance: TypeAlias = Callable[[int], None]
"""Is told how many further bytes were read."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns to read, and as what."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        """Return every name once."""
        return tuple(dict.fromkeys((*self.texts, *self.numbers)))

    def among(self, names: Sequence[str]) -> Columns:
        """Keep the names that a table has."""
        return Columns(
            tuple(each for each in self.texts if each in names), tuple(each for each in self.numbers if each in names)
        )

    def type_of(self, name: str) -> pa.DataType:
        """Return the type it is read as; a column wanted as both is read as text."""
        return _TEXT if name in self.texts else _NUMBER


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive rows of the main table with the columns of the side tables."""

    file: Path
    first_line: int
    """Line of the first row, counted from 1; the header is a line too. Right where no quoted text holds a line end."""
    columns: Mapping[str, pa.Array]
    rows: int

    def __len__(self) -> int:
        return self.rows

    def coded(self, name: str) -> Coded:
        """Return a column as distinct canonical texts and an index."""
        return coded(self.columns[name])

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return a numeric column; not-a-number where the value is missing.

        Raises
        ------
        UserError
            Text that is no number.
        """
        column = self.columns[name]
        if pa.types.is_dictionary(column.type):
            text = coded(column)
            parsed = np.asarray(pd.to_numeric(text.values, errors="coerce"), dtype=np.float64)
            wrong = np.isnan(parsed) & (text.counts() > 0)
            if wrong.any():
                raise self.error(name, text.lookup(wrong, False), "expected a number")
            return text.lookup(parsed, np.nan)
        values = column.cast(_NUMBER).to_numpy(zero_copy_only=False)
        return np.asarray(values, dtype=np.float64)

    def error(self, name: str, wrong: npt.NDArray[np.bool_], expected: str) -> UserError:
        """Describe the first wrong value of a column: file, line, column, what was got."""
        row = int(np.flatnonzero(wrong)[0])
        got = self.columns[name][row].as_py()
        shown = "an empty value" if got is None else f"'{got}'"
        return UserError(f"{self.file}, line {self.first_line + row}, column '{name}': got {shown}, {expected}")


class Reader:
    """Reads the rows of a data set, chunk by chunk, as often as is wanted.

    Parameters
    ----------
    schema
        Names the files and their form.
    source
        Folder that holds them.
    columns
        What is needed; nothing else is kept in memory.
    progress
        Show a progress bar on standard error, where that is a terminal.

    Raises
    ------
    UserError
        No such folder, file or column; a side table whose key is not unique.
    """

    def __init__(self, schema: DatasetSchema, source: Path, columns: Columns, *, progress: bool = True) -> None:
        if not source.is_dir():
            raise UserError(
                f"source folder {source} does not exist: give the folder that holds the files of {schema.name}"
            )
        self._table = schema.table
        self._progress = progress
        self._files = find_files(schema.table, source)
        names = _column_names(self._files[0], schema.table)
        self._main = columns.among(names)
        remaining = [name for name in columns.all() if name not in names]
        self._sides: list[_SideTable] = []
        for join in schema.joins:
            side = _SideTable(join, source, remaining, columns)
            remaining = [name for name in remaining if name not in side.names]
            if side.names:
                self._sides.append(side)
        if remaining:
            raise _missing_column(self._files[0], remaining[0], names)
        keys = tuple(side.key for side in self._sides)
        for key in keys:
            if key not in names:
                raise _missing_column(self._files[0], key, names)
        self._read = Columns((*self._main.texts, *keys), self._main.numbers)

    def chunks(self, title: str, only: Columns | None = None) -> Iterator[Chunk]:
        """Go once through all rows.

        Parameters
        ----------
        title
            Shown before the progress bar.
        only
            Read just these columns of the main table, without any join.

        Raises
        ------
        UserError
            A column is missing, a row or a value cannot be read, or the keys of a side table match no row at all.
        """
        wanted = only or self._read
        total = sum(file.stat().st_size for file in self._files)
        for side in self._sides:
            side.matched = 0
        rows = 0
        with _progress_bar(title, total, self._progress) as advance:
            for file in self._files:
                for first_line, batch in _read_file(file, self._table, wanted, advance):
                    columns = {name: batch.column(name) for name in wanted.all()}
                    if only is None:
                        for side in self._sides:
                            columns |= side.match(columns[side.key])
                    rows += batch.num_rows
                    yield Chunk(file, first_line, columns, batch.num_rows)
        if rows and only is None:
            self._refuse_unmatched()

    def has(self, name: str) -> bool:
        """Return whether the main table holds a column."""
        return name in self._main.all()

    def _refuse_unmatched(self) -> None:
        for side in self._sides:
            if not side.matched:
                raise UserError(
                    f"{side.file}: its column '{side.key_there}' matches no row of the main table's '{side.key}': "
                    "are both of the same data set?"
                )


class _SideTable:
    """A joined table in memory, found by key."""

    def __init__(self, join: JoinSpec, source: Path, wanted: Sequence[str], columns: Columns) -> None:
        files = find_files(join, source)
        self.file = files[0]
        self.key = join.key
        self.key_there = join.key_there or join.key
        self.matched = 0
        there = _column_names(self.file, join)
        if self.key_there not in there:
            raise _missing_column(self.file, self.key_there, there)
        self.names = tuple(name for name in wanted if name in there)
        if not self.names:
            return
        kept = columns.among(self.names)
        read = Columns(tuple(dict.fromkeys((self.key_there, *kept.texts))), kept.numbers)
        batches = [batch for file in files for _, batch in _read_file(file, join, read, _ignore)]
        if not batches:
            raise UserError(f"{self.file}: the table is empty")
        table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
        keys = coded(table.column(self.key_there))
        self._index = pd.Index(keys.lookup(keys.values, None), dtype=object)
        if not self._index.is_unique:
            repeated = self._index[self._index.duplicated()][0]
            raise UserError(f"{self.file}: the key '{self.key_there}' must be unique, got {repeated!r} more than once")
        self._columns = {name: _single(table.column(name)) for name in self.names}

    def match(self, key: pa.Array) -> dict[str, pa.Array]:
        """Return this table's columns for the main table's keys; null where there is no such key."""
        distinct = coded(key)
        found = self._index.get_indexer(pd.Index(distinct.values, dtype=object))
        rows = distinct.lookup(found.astype(np.int64), -1)
        self.matched += int((rows >= 0).sum())
        taken = pa.array(rows, mask=rows < 0)
        return {name: column.take(taken) for name, column in self._columns.items()}


def find_files(table: TableSpec, source: Path) -> list[Path]:
    """Return all files of a table, sorted by name within each glob.

    Raises
    ------
    UserError
        A glob matches nothing.
    """
    found: list[Path] = []
    for pattern in table.files:
        files = sorted(file for file in source.glob(pattern) if file.is_file())
        if not files:
            raise UserError(f"no file '{pattern}' in {source}: is this the folder of the data set?")
        found += [file for file in files if file not in found]
    return found


def _column_names(file: Path, table: TableSpec) -> list[str]:
    if table.header:
        return list(table.header)
    with _reading(file):
        if file.suffix in PARQUET_ENDINGS:
            return list(pq.read_schema(file).names)
        with file.open("rb") as handle:
            options = pacsv.ReadOptions(block_size=_HEADER_BYTES)
            parse_options = _parse_options(table)
            parse_options.invalid_row_handler = lambda _: "skip"  # told when the rows are read
            return list(pacsv.open_csv(handle, options, parse_options).schema.names)


def _read_file(
    file: Path, table: TableSpec, columns: Columns, advance: Advance
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the line of the first row and the rows."""
    names = _column_names(file, table)
    for name in columns.all():
        if name not in names:
            raise _missing_column(file, name, names)
    batches = _read_parquet(file, columns, advance) if file.suffix in PARQUET_ENDINGS else None
    line = 1 if table.header or batches else 2
    with _reading(file, lambda error: _locate(file, table, columns, error)):
        for batch in batches or _read_csv(file, table, columns, advance):
            if batch.num_rows:
                yield line, batch
            line += batch.num_rows


def _read_csv(file: Path, table: TableSpec, columns: Columns, advance: Advance) -> Iterator[pa.RecordBatch]:
    read = pacsv.ReadOptions(block_size=BLOCK_BYTES, column_names=list(table.header) or None)
    convert = pacsv.ConvertOptions(
        include_columns=list(columns.all()),
        column_types={name: columns.type_of(name) for name in columns.all()},
        null_values=list(table.missing),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    with file.open("rb") as handle:
        seen = 0
        for batch in pacsv.open_csv(handle, read, _parse_options(table), convert):
            yield batch
            position = handle.tell()
            advance(position - seen)
            seen = position


def _read_parquet(file: Path, columns: Columns, advance: Advance) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        size, rows = file.stat().st_size, max(1, parquet.metadata.num_rows)
        for batch in parquet.iter_batches(batch_size=PARQUET_ROWS, columns=list(columns.all())):
            typed = [_as_wanted(file, batch.column(name), name, columns) for name in columns.all()]
            yield pa.RecordBatch.from_arrays(typed, names=list(columns.all()))
            advance(size * batch.num_rows // rows)


def _as_wanted(file: Path, column: pa.Array, name: str, columns: Columns) -> pa.Array:
    if name in columns.texts:
        return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    try:
        return column.cast(_NUMBER)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{file}, column '{name}': expected numbers, got {column.type} ({error})") from None


def _parse_options(table: TableSpec) -> pacsv.ParseOptions:
    return pacsv.ParseOptions(delimiter=table.delimiter, quote_char=table.quote, newlines_in_values=True)


@contextmanager
def _reading(file: Path, explain: Callable[[pa.ArrowInvalid], None] | None = None) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        if explain is not None:
            explain(error)
        raise UserError(f"cannot read {file}: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from None


def _locate(file: Path, table: TableSpec, columns: Columns, error: pa.ArrowInvalid) -> None:
    """Go through a file that cannot be read once more, slowly, and raise the error with its line.

    The library tells neither the line of a text that is no number nor that of a row with a wrong number of columns.
    """
    if file.suffix in PARQUET_ENDINGS:
        return
    if "columns, got" in str(error):
        _locate_row(file, table)
    elif "conversion error to double" in str(error):
        for line, batch in _read_file(file, table, Columns(columns.all()), _ignore):
            chunk = Chunk(file, line, {name: batch.column(name) for name in columns.numbers}, batch.num_rows)
            for name in columns.numbers:
                chunk.numbers(name)


def _locate_row(file: Path, table: TableSpec) -> None:
    expected = len(table.header)
    with file.open(encoding="utf-8", errors="replace", newline="") as handle:
        rows = csv.reader(handle, delimiter=table.delimiter, quotechar=table.quote)
        for row in rows:
            expected = expected or len(row)
            if row and len(row) != expected:
                raise UserError(f"{file}, line {rows.line_num}: got {len(row)} columns, expected {expected}")


@contextmanager
def _progress_bar(title: str, total: int, wanted: bool) -> Iterator[Advance]:
    if not wanted or not sys.stderr.isatty():
        yield _ignore
        return
    shown = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _missing_column(file: Path, name: str, names: Sequence[str]) -> UserError:
    return UserError(f"{file}: no column '{name}'; it has {', '.join(names)}")


def _ignore(_: int) -> None:
    """Count nothing."""
