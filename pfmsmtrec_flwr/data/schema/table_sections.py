"""Sections of a schema for the tables: their files and their form."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pfmsmtrec_flwr.data.schema.column_form import PLAIN, ColumnForm
from pfmsmtrec_flwr.data.schema.values import ColumnName, FolderName, expand_columns, expand_run
from pfmsmtrec_flwr.validation import Section

SCENARIO_MARK = "{scenario}"
SPLIT_MARK = "{split}"

OneCharacter = Annotated[str, Field(min_length=1, max_length=1)]


class TableSection(Section):
    """One table in one or more files. The ending of a file name says whether it is CSV or Parquet."""

    files: Annotated[tuple[ColumnName, ...], Field(strict=False, min_length=1)]
    """Globs below the source folder. All files that match are read, in the order of their names. ``{scenario}`` stands
    for the scenario's name, ``{split}`` for the word of `split.by_file`. Upper and lower case are equal. A CSV file
    may be packed (``.gz``, ``.bz2``, ``.xz``, ``.zst``, or in a ``.zip``). A folder ``country=NL`` makes a column
    ``country``."""
    delimiter: OneCharacter = ","
    """Sign between columns. Files of RecBole (``.inter``, ``.user``, ``.item``) have tabs unless it is set, and a file
    that begins with Excel's line ``sep=;`` has the sign that it names."""
    encoding: str = "utf-8"
    """Encoding of CSV files, such as ``latin-1``, ``cp1252`` (Windows) or ``utf-16``."""
    quote: OneCharacter = '"'
    header: Annotated[tuple[ColumnName, ...], Field(strict=False)] = ()
    """Names of the columns of CSV files without a header line. ``user_{2..33}`` stands for a run of names."""
    columns: dict[ColumnName, ColumnForm] = Field(default_factory=dict)
    """How the values of single columns are written. ``price_{1..3}`` stands for a run of columns."""
    columns_of: dict[FolderName, dict[ColumnName, ColumnForm]] = Field(default_factory=dict)
    """Columns that a scenario with files of its own writes in another way, by the scenario's name."""

    @model_validator(mode="before")
    @classmethod
    def _words_of_columns(cls, document: Any) -> Any:
        if not isinstance(document, dict):
            return document
        known = {key: value for key, value in document.items() if key != "missing"}
        if document.get("missing", ("",)) not in ([], [""], (), ("",)):
            raise ValueError(
                "missing is for single columns, such as columns: {user_id: {missing: [unknown]}}, or in a field or "
                "numeric column; where a number is expected NA, NULL, None and \\N are missing anyway"
            )
        if "columns" in known:
            known["columns"] = expand_columns(known["columns"])
        if isinstance(known.get("columns_of"), dict):
            known["columns_of"] = {name: expand_columns(columns) for name, columns in known["columns_of"].items()}
        return known

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError(f"got '{encoding}', expected an encoding such as utf-8, cp1252 or utf-16") from None
        return encoding

    @field_validator("header")
    @classmethod
    def _expanded(cls, header: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name for each in header for name in expand_run(each))
        if len(set(names)) != len(names):
            raise ValueError("a column's name occurs twice")
        return names

    def form_of(self, column: str) -> ColumnForm:
        """Return how the values of a column are written."""
        return self.columns.get(column, PLAIN)

    def written_by(self, scenario: str) -> Self:
        """Return the table with the forms in which a scenario writes its columns."""
        own = self.columns_of.get(scenario)
        return self if own is None else self.model_copy(update={"columns": self.columns | own})


class JoinSection(TableSection):
    """A side table, whose columns are added to the rows of the main table.

    The values are kept on disk. The keys take 16 bytes of memory per row, and 32 bytes while they are sorted.
    """

    key: ColumnName
    """Key column of the main table."""
    key_there: ColumnName | None = None
    """Key column of the side table, if its name differs."""
    how: Literal["left", "inner"] = "left"
    """left: keys of the side table are unique, and rows without a match get missing values. inner: rows without a
    match are dropped, and a row with several matches is repeated."""
