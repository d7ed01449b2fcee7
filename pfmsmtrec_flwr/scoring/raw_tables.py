"""Tables of raw rows to be scored: their form, the columns that they need, and their side tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa

from pfmsmtrec_flwr.data.prepare.columns import Output
from pfmsmtrec_flwr.data.prepare.rows import DerivedRows, Reader
from pfmsmtrec_flwr.data.prepare.source_parts import SourcePart, side_files
from pfmsmtrec_flwr.data.read.atomic_files import ATOMIC_ENDINGS
from pfmsmtrec_flwr.data.read.diagnosis import missing_column
from pfmsmtrec_flwr.data.read.memory_tables import MemoryTable
from pfmsmtrec_flwr.data.read.sources import SourceFile, SourceFolder
from pfmsmtrec_flwr.data.read.streams import unpacked_name
from pfmsmtrec_flwr.data.read.tables import PARQUET_ENDINGS, column_names
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.table_sections import SCENARIO_MARK, SPLIT_MARK
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

Frame: TypeAlias = pd.DataFrame | pa.Table
"""Rows in memory, with the columns of the data set's own table."""

_ENDINGS = {".csv", ".tsv", ".txt", *PARQUET_ENDINGS, *ATOMIC_ENDINGS}
_MEMORY = "the rows"


def table_on_disk(path: Path) -> SourceFile:
    """Return the file of a table.

    Raises
    ------
    UserError
        It does not exist, or its ending is of no table.
    """
    source = SourceFile(unpacked_name(path.name), path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a pipe or device, which cannot be read twice"
        got = f"{path} is {found}" if path.exists() else f"no file {path}"
        raise UserError(f"{got}: give a table of raw rows, CSV or Parquet")
    if source.ending not in _ENDINGS:
        raise UserError(f"{path}: got the ending '{source.ending}', expected .csv, .csv.gz or .parquet")
    return source


def table_in_memory(rows: Frame, read: Collection[str]) -> MemoryTable:
    """Return a frame as a table.

    Parameters
    ----------
    rows
        Frame.
    read
        Columns that may be read. Others may have any values.

    Raises
    ------
    UserError
        A column to be read is there twice or has values of several types, or the frame is none.
    """
    if isinstance(rows, pd.DataFrame):
        rows = _of_pandas(rows, read)
    if not isinstance(rows, pa.Table):
        raise UserError(f"got {type(rows).__name__}, expected a pandas DataFrame or an Arrow Table")
    return MemoryTable(_MEMORY, Path(_MEMORY), rows=rows)


def _of_pandas(frame: pd.DataFrame, read: Collection[str]) -> pa.Table:
    names = [str(name) for name in frame.columns]
    if twice := [name for name in read if names.count(name) > 1]:
        raise UserError(f"{_MEMORY}: the column '{min(twice)}' occurs twice")
    frame = frame.set_axis(names, axis=1).loc[:, ~pd.Index(names).duplicated()]
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError):
        columns = {name: _of_series(frame[name], needed=name in read) for name in frame.columns}
        return pa.table(columns)


def _of_series(values: pd.Series[Any], *, needed: bool) -> pa.Array:
    """Return a column as Arrow has it; nulls if Arrow has no such values and nobody needs them."""
    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowException, ValueError, TypeError) as error:
        if not needed:
            return pa.nulls(len(values))
        reason = " ".join(map(str, error.args))
        raise UserError(
            f"{_MEMORY}, column '{values.name}': the values cannot be read ({reason}): give it values of one type, "
            "text or numbers"
        ) from None


@dataclass(frozen=True, slots=True)
class RawTable:
    """Table of raw rows, with the schema that fits its form.

    Attributes
    ----------
    schema
        Schema of the data set, without those joins and names of columns that do not hold for this table.
    part
        File or frame, and its side tables.
    names
        Names of its columns.
    known
        Names of its columns and of those of its side tables.
    """

    schema: DatasetSchema
    part: SourcePart
    names: tuple[str, ...]
    known: frozenset[str]

    @classmethod
    def of(cls, schema: DatasetSchema, source: SourceFile, folder: Path | None, scenario: str) -> RawTable:
        """Find out the form of a table and its side tables.

        Parameters
        ----------
        schema
            Schema of the data set.
        source
            File or frame.
        folder
            Folder of the side tables; None: the rows have all columns.
        scenario
            Name of the scenario in the names of side tables; empty if the rows are of several.

        Raises
        ------
        UserError
            A side table is missing, or depends on a scenario that is not known.
        """
        table = schema.table
        if table.header and _has_names(source, schema):
            table = table.model_copy(update={"header": ()})
        joins = schema.joins if folder is not None else ()
        if not joins:  # the rows have the columns of side tables, in their form
            forms = {name: form for join in reversed(schema.joins) for name, form in join.columns.items()}
            table = table.model_copy(update={"columns": forms | table.columns})
        schema = schema.model_copy(update={"table": table, "joins": joins})
        sides = () if folder is None else _side_tables(schema, source, folder, scenario)
        names = tuple(column_names(source, table))
        there = [column_names(sources[0], join) for join, sources in zip(joins, sides, strict=True)]
        known = frozenset([*names, *(name for own in there for name in own)])
        return cls(schema, SourcePart(source, sides), names, known)

    def require(self, outputs: Sequence[Output], model: str, *, side_tables: int) -> None:
        """Refuse a table that lacks a column, or has one twice.

        Parameters
        ----------
        outputs
            Outputs to derive from the table and its side tables.
        model
            Model that needs them, for the message.
        side_tables
            Number of side tables in the schema of the data set.

        Raises
        ------
        UserError
            The message names the columns.
        """
        needed = dict.fromkeys(column for output in outputs for column in (output.column, *output.others))
        source = self.part.source
        if twice := [name for name in needed if self.names.count(name) > 1]:
            raise UserError(f"{source}: the column '{twice[0]}' occurs twice")
        if missing := [name for name in needed if name not in self.known]:
            if len(self.names) == 1:  # perhaps another delimiter
                raise missing_column(source, self.schema.table, missing[0], self.names)
            lacking = f"{'columns' if missing[1:] else 'column'} {', '.join(map(repr, missing))}"
            hint = ""
            if side_tables and not self.part.sides:
                hint = "; columns of side tables are read from the folder --source, or the rows must have them"
            raise UserError(
                f"{source}: no {lacking}, which {model} needs; it has {', '.join(self.names) or 'none'}{hint}"
            )

    def require_kept(self, names: Sequence[str]) -> None:
        """Refuse columns to keep that the table does not have.

        Raises
        ------
        UserError
            The message names the first one.
        """
        if missing := [name for name in names if name not in self.names]:
            raise UserError(f"{self.part.source}: no column '{missing[0]}' to keep; it has {', '.join(self.names)}")

    def rows(
        self, outputs: Sequence[Output], keep: Sequence[str] = (), *, progress: bool = True
    ) -> Iterator[DerivedRows]:
        """Yield the rows with their outputs, joined with the side tables.

        Parameters
        ----------
        outputs
            Outputs to derive.
        keep
            Columns that the chunks have too.
        progress
            Show a progress bar if standard error is a terminal.

        Raises
        ------
        UserError
            A row or a value cannot be read.
        """
        numbers = {output.column for output in outputs if output.number}
        more = [name for name in keep if name not in numbers]
        with TemporaryDirectory(prefix="pfmsmtrec-") as workspace:
            reader = Reader(self.schema, [self.part], Path(workspace), progress=progress)
            yield from reader.rows(self.part, outputs, more)
            _report_unmatched(reader)


def _report_unmatched(reader: Reader) -> None:
    """Log the rows without a match in side tables; new rows may all be of unknown users."""
    try:
        reader.refuse_unmatched()
    except UserError as error:
        logger.warning("%s", error)


def _has_names(source: SourceFile, schema: DatasetSchema) -> bool:
    """Return whether a table has names of columns, although the data set's own files have no header line."""
    if isinstance(source, MemoryTable) or source.ending in PARQUET_ENDINGS:
        return True
    try:
        first = column_names(source, schema.table.model_copy(update={"header": ()}))
    except UserError:  # a row with two equal values
        return False
    return bool(set(first) & set(schema.table.header))


def _side_tables(
    schema: DatasetSchema, source: SourceFile, folder: Path, scenario: str
) -> tuple[tuple[SourceFile, ...], ...]:
    patterns = [pattern for join in schema.joins for pattern in join.files]
    if not scenario and any(SCENARIO_MARK in pattern for pattern in patterns):
        raise UserError(
            f"each scenario of {schema.name} has side tables of its own: score one scenario at a time, with --scenario"
        )
    sides = side_files(schema, SourceFolder(folder, schema.name), scenario, _split_word(schema, source))
    for sources in sides:
        logger.info("side table: %s", ", ".join(map(str, sources)))
    if not sides:
        logger.info("no side table is read from %s: the schema of %s has none", folder, schema.name)
    return sides


def _split_word(schema: DatasetSchema, source: SourceFile) -> str | None:
    """Return the word for the split in the name of a file; that of the test where the name says nothing."""
    rule = schema.split.by_file
    if rule is None:
        return None
    words = [word for word in (rule.test, rule.validation, rule.train) if word is not None]
    for pattern in schema.table.files:
        marked = re.escape(pattern.rpartition("/")[2]).replace(r"\*", ".*")
        marked = marked.replace(re.escape(SCENARIO_MARK), ".*").replace(
            re.escape(SPLIT_MARK), f"({'|'.join(map(re.escape, words))})"
        )
        found = re.fullmatch(marked, source.name, re.IGNORECASE)
        if found is not None and found.groups():
            return str(found[1])
    return rule.test
