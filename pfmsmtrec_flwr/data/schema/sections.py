"""The sections of a data set's schema: tables, scenarios, tasks, splits, fields, numeric columns, sampled negatives."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pfmsmtrec_flwr.validation import Section

FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
ColumnName = Annotated[str, Field(min_length=1)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Scalar = str | int | float
Share = Annotated[float, Field(gt=0, lt=1)]
OneCharacter = Annotated[str, Field(min_length=1, max_length=1)]
Scalars = Annotated[tuple[Scalar, ...], Field(strict=False)]
NonEmptyScalars = Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1)]
NonEmptyTexts = Annotated[tuple[ColumnName, ...], Field(strict=False, min_length=1)]
ScenarioNames = Annotated[tuple[FolderName, ...], Field(strict=False, min_length=1)]

SCENARIO_MARK = "{scenario}"
SPLIT_MARK = "{split}"

_RUN = re.compile(r"\{(\d+)\.\.(\d+)\}")


class TableSection(Section):
    """One table: one file or many, CSV or Parquet (by their ending)."""

    files: NonEmptyTexts
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


class ScenarioSection(Section):
    """What the scenarios are: values of a column, or files of their own."""

    column: ColumnName | None = None
    values: Annotated[dict[Scalar, FolderName], Field(min_length=1)] | None = None
    """Value in the file: name of the scenario."""
    others: Literal["drop", "error"] = "error"
    """What becomes of rows with another value."""
    names: ScenarioNames | None = None
    """Scenarios with files of their own: each name takes the place of ``{scenario}`` in `files`."""

    @model_validator(mode="after")
    def _one_rule(self) -> ScenarioSection:
        by_column = self.column is not None and self.values is not None and self.names is None
        by_files = self.names is not None and self.column is None and self.values is None
        if not (by_column or by_files):
            raise ValueError("give either column and values, or names")
        names = list(self.values.values()) if self.values is not None else list(self.names or ())
        if len(set(names)) != len(names):
            raise ValueError("scenario names must not repeat")
        return self


class TaskSection(Section):
    """A task: the column of its label, and which values mean yes and no."""

    column: ColumnName
    positive: NonEmptyScalars = (1,)
    negative: NonEmptyScalars = (0,)
    scenarios: ScenarioNames | None = None
    """Scenarios that have the task; by default all."""

    @model_validator(mode="after")
    def _disjoint(self) -> TaskSection:
        if both := set(map(str, self.positive)) & set(map(str, self.negative)):
            raise ValueError(f"{min(both)} is both positive and negative")
        return self


class LastDays(Section):
    """How many of the last days, common to all scenarios, are held out."""

    validation: Annotated[int, Field(ge=1)] = 1
    test: Annotated[int, Field(ge=1)] = 1


class DateSplit(Section):
    """Split by day: given values, or the last ones in the data."""

    column: ColumnName
    last_days: LastDays | None = None
    validation: Scalars = ()
    test: Scalars = ()

    @model_validator(mode="after")
    def _one_rule(self) -> DateSplit:
        given = bool(self.validation) + bool(self.test)
        if (self.last_days is None and given != 2) or (self.last_days is not None and given):
            raise ValueError("give either last_days, or both validation and test with the values of the column")
        if set(map(str, self.validation)) & set(map(str, self.test)):
            raise ValueError("a value is both in validation and in test")
        return self


class ShareSplit(Section):
    """Split at random by users: all rows of a user go to one split."""

    validation: Share
    test: Share
    seed: int = 0

    @model_validator(mode="after")
    def _rest(self) -> ShareSplit:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave no training rows")
        return self


class RandomSplit(ShareSplit):
    """Split at random: rows with the same key, such as one page of results, go to one split."""

    key: ColumnName | None = None
    """Without a key each row is drawn by itself."""


class CutSplit(Section):
    """Cut the validation rows from the training files."""

    share: Share
    key: ColumnName | None = None
    """Rows with the same key stay together; without a key each row is drawn by itself."""
    seed: int = 0


class FileSplit(Section):
    """The files say the split: these words take the place of ``{split}`` in `files`."""

    train: ColumnName = "train"
    test: ColumnName = "test"
    validation: ColumnName | None = None
    cut: CutSplit | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> FileSplit:
        exactly_one(self, ("validation", "cut"))
        return self


class SplitSection(Section):
    """The split rule: exactly one of these."""

    by_date: DateSplit | None = None
    random: RandomSplit | None = None
    by_user: ShareSplit | None = None
    by_file: FileSplit | None = None

    @model_validator(mode="after")
    def _one(self) -> SplitSection:
        exactly_one(self, ("by_date", "random", "by_user", "by_file"))
        return self


class IdentitySection(Section):
    """The value is a number 0..size-1; row = value + 1."""

    size: Annotated[int, Field(ge=1)]


class HashSection(Section):
    """row = 1 + hash(value) mod buckets, the same on every machine."""

    buckets: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)] = 0


class VocabularySection(Section):
    """Learned on the scenario's own training rows: the most frequent value gets row 1."""

    min_count: Annotated[int, Field(ge=1)] = 1
    """Rarer values get row 0."""
    max_size: Annotated[int, Field(ge=1)] | None = None
    """Values kept, at most."""


class FieldSection(Section):
    """A categorical field: exactly one encoder, and whose its embedding table is."""

    column: ColumnName | None = None
    """Column it is read from; by default the one of its name."""
    transform: Literal["none", "hour", "first"] = "none"
    """hour: 2359 becomes 23. first: the first element of a comma-separated list."""
    missing: Scalars = ()
    """Sentinels that mean a missing value."""
    embedding: Literal["local", "federated"]
    identity: IdentitySection | None = None
    hash: HashSection | None = None
    values: Scalars | None = None
    """A vocabulary declared here, the same for everyone."""
    vocabulary: VocabularySection | None = None
    scenarios: ScenarioNames | None = None
    """Scenarios that have the column; in the others the value is missing. By default all."""

    @model_validator(mode="after")
    def _sound(self) -> FieldSection:
        exactly_one(self, ("identity", "hash", "values", "vocabulary"))
        if self.vocabulary is not None and self.embedding == "federated":
            raise ValueError(
                "a federated field cannot learn its vocabulary locally, for a row would not mean the same value "
                "everywhere: use identity, hash or values, or make the embedding local"
            )
        if self.values is not None and not self.values:
            raise ValueError("values is empty")
        return self


class NumericSection(Section):
    """A numeric column; after its transform it is standardised on the scenario's own training rows."""

    column: ColumnName | None = None
    transform: Literal["none", "log1p"] = "none"
    clip: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Lowest and highest value kept, in the file's unit, before the transform."""
    missing: Annotated[tuple[float, ...], Field(strict=False)] = ()
    """Sentinels that mean a missing value, which becomes the mean."""
    scenarios: ScenarioNames | None = None
    """Scenarios that have the column; in the others the value is missing. By default all."""

    @field_validator("clip")
    @classmethod
    def _ordered(cls, clip: tuple[float, float] | None) -> tuple[float, float] | None:
        if clip is not None and not clip[0] < clip[1]:
            raise ValueError("the first must be below the second")
        return clip


class NegativesSection(Section):
    """Rows made up for tables that hold only the positive ones: items that the user has no row for."""

    task: FieldName
    """Its label is 1 in every row of the table."""
    scenarios: ScenarioNames
    """Scenarios whose tables are like that."""
    item: FieldName
    """Field that says which item a row is about."""
    item_features: Annotated[tuple[FieldName, ...], Field(strict=False)] = ()
    """Further fields and numeric columns that belong to the item; all else belongs to the user."""
    per_positive: Annotated[int, Field(ge=0)] = 0
    """Rows made up for each row of the table; 0: none, and the task is refused for these scenarios."""
    seed: int = 0


def expand_run(name: str) -> list[str]:
    """Return the names that ``x_{2..5}`` stands for; any other name stands for itself.

    >>> expand_run("x_{2..5}")
    ['x_2', 'x_3', 'x_4', 'x_5']
    """
    found = _RUN.search(name)
    if found is None:
        return [name]
    first, last = int(found[1]), int(found[2])
    if first > last:
        raise ValueError(f"'{name}' runs backwards")
    if _RUN.search(name, found.end()) is not None:
        raise ValueError(f"'{name}' has two runs, one is allowed")
    return [f"{name[: found.start()]}{number}{name[found.end() :]}" for number in range(first, last + 1)]


def expand_columns(columns: Any) -> Any:
    """Write out the runs in a mapping of names to sections; ``column`` may be a run of the same length.

    Raises
    ------
    ValueError
        Two runs differ in length, or a name is there twice.
    """
    if not isinstance(columns, dict):
        return columns  # what it is instead is told when it is checked
    expanded: dict[Any, Any] = {}
    for key, section in columns.items():
        names = expand_run(key) if isinstance(key, str) else [key]
        for name, own in zip(names, _sections(key, section, len(names)), strict=True):
            if name in expanded:
                raise ValueError(f"'{name}' is there twice")
            expanded[name] = own
    return expanded


def _sections(key: Any, section: Any, count: int) -> list[Any]:
    column = section.get("column") if isinstance(section, dict) else None
    if not isinstance(column, str) or (count == 1 and _RUN.search(column) is None):
        return [section] * count
    columns = expand_run(column)
    if len(columns) != count:
        raise ValueError(f"'{key}' stands for {count} names, its column '{column}' for {len(columns)}")
    return [section | {"column": each} for each in columns]


def exactly_one(section: Section, keys: tuple[str, ...]) -> None:
    """Refuse a section that has none of some keys, or several.

    Raises
    ------
    ValueError
        Says which were given.
    """
    given = [key for key in keys if getattr(section, key) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(keys)}; got {', '.join(given) or 'none'}")
