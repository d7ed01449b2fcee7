"""Sections of a schema that say where the tables are and what they look like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pfmsmtrec_flwr.data.schema.names import ColumnName, expand_run
from pfmsmtrec_flwr.validation import Section

SCENARIO_MARK = "{scenario}"
SPLIT_MARK = "{split}"

OneCharacter = Annotated[str, Field(min_length=1, max_length=1)]


class TableSection(Section):
    """One table: one file or many, CSV or Parquet (by their ending)."""

    files: Annotated[tuple[ColumnName, ...], Field(strict=False, min_length=1)]
    """Globs below the source folder; all files that match are read, in the order of their names. ``{scenario}`` stands
    for the scenario's name, ``{split}`` for what `split.by_file` calls the split. Upper and lower case are alike, and
    a CSV file may be packed (``.gz``, or in a ``.zip``)."""
    delimiter: OneCharacter = ","
    quote: OneCharacter = '"'
    header: Annotated[tuple[ColumnName, ...], Field(strict=False)] = ()
    """Names of the columns, for CSV files without a header line; ``user_{2..33}`` stands for a run of names."""
    missing: Annotated[tuple[str, ...], Field(strict=False)] = ("",)
    """Texts that mean a missing value, in every column."""

    @field_validator("header")
    @classmethod
    def _expanded(cls, header: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name for each in header for name in expand_run(each))
        if len(set(names)) != len(names):
            raise ValueError("a column's name is there twice")
        return names


class JoinSection(TableSection):
    """A side table; its columns are added to the rows of the main table.

    Its values are kept on disk, its keys in memory: 16 bytes a row, twice as many while they are sorted.
    """

    key: ColumnName
    """Column of the main table."""
    key_there: ColumnName | None = None
    """Column of the side table, if it has another name."""
    how: Literal["left", "inner"] = "left"
    """left: the key is unique there, and what is not found is missing. inner: rows that find nothing are dropped, and
    a row that finds several is repeated."""
