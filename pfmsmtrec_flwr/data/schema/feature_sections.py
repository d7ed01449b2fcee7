"""Sections of a schema for the inputs of a model: categorical fields with their encoders, and numeric columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from pfmsmtrec_flwr.data.schema.choices import exactly_one
from pfmsmtrec_flwr.data.schema.values import Bands, ColumnName, NumberOrWord, Scalars, ScenarioNames, expand_run
from pfmsmtrec_flwr.validation import Section


class IdentitySection(Section):
    """Values that are numbers 0..size-1; row = value + 1."""

    size: Annotated[int, Field(ge=1)]


class HashSection(Section):
    """Hashed values; row = 1 + hash(value) mod buckets, the same on every machine."""

    buckets: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)] = 0


class VocabularySection(Section):
    """Vocabulary learned on the scenario's own training rows; the most frequent value has row 1."""

    min_count: Annotated[int, Field(ge=1)] = 1
    """Number of training rows below which a value gets row 0."""
    max_size: Annotated[int, Field(ge=1)] | None = None
    """Largest number of values."""


def _expanded(columns: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name for each in columns for name in expand_run(each))
    if len(set(names)) != len(names) or len(names) < 2:
        raise ValueError("name two or more different columns")
    return names


SeveralColumns = Annotated[tuple[ColumnName, ...], Field(strict=False), AfterValidator(_expanded)]


class SeveralSection(Section):
    """Several values in one field of a row, whose embeddings are averaged.

    They come from one column of texts or lists, or from several `columns` or `flags` of one table.
    """

    separator: Annotated[str, Field(min_length=1)] | None = None
    """Text between two values. A list column of a Parquet file needs none."""
    columns: SeveralColumns | None = None
    """Columns with one value each, in this order. ``hist_{1..10}`` stands for a run of columns."""
    flags: SeveralColumns | None = None
    """Columns of 0 and 1. The name of a column is a value of the rows in which it is 1."""
    most: Annotated[int, Field(ge=2, le=1000)]
    """Largest number of values of a row. Further values are left out."""

    @model_validator(mode="after")
    def _one_origin(self) -> SeveralSection:
        found = [key for key in ("separator", "columns", "flags") if getattr(self, key) is not None]
        if len(found) > 1:
            raise ValueError(f"give at most one of separator, columns, flags; got {', '.join(found)}")
        return self


class FieldSection(Section):
    """A categorical field: exactly one encoder, and a local or federated embedding table."""

    column: ColumnName | None = None
    """Column of the table, if its name differs."""
    transform: Literal["none", "hour", "weekday", "day", "first", "number", "year", "lower"] = "none"
    """For a column under `times`, hour is the hour of its time (0 to 23), weekday the day of the week from Monday on
    (0 to 6), day the day of the month (1 to 31), and year the year. For another column, hour: 2359 becomes 23. year:
    first four digits, such as 1995 in ``01-Jan-1995``. first: first element of a comma-separated list. number: first
    number in a text, such as 34 in ``34 years``. A text without them is missing. lower: text in lower case."""
    several: SeveralSection | None = None
    """Set if a row may have several values, such as genres. Transform and missing then apply to each of them."""
    missing: Scalars = ()
    """Values that stand for a missing value, such as -1 or unknown. Every other word is a value; with `identity` and
    `bands`, which need numbers, NA, NULL and the like are missing."""
    embedding: Literal["local", "federated"]
    identity: IdentitySection | None = None
    hash: HashSection | None = None
    values: Scalars | None = None
    """Declared vocabulary, the same in every scenario."""
    bands: Bands | None = None
    """Numbers at which the next band begins, ascending; row = band + 1, and the numbers below the first are band 0."""
    vocabulary: VocabularySection | None = None
    scenarios: ScenarioNames | None = None
    """Scenarios that have the column; in others the value is missing. The default is all of them."""

    @model_validator(mode="after")
    def _sound(self) -> FieldSection:
        exactly_one(self, ("identity", "hash", "values", "bands", "vocabulary"))
        if self.vocabulary is not None and self.embedding == "federated":
            raise ValueError(
                "a federated field cannot learn its vocabulary locally, as a row would not mean the same value "
                "everywhere: use identity, hash, values or bands, or make the embedding local"
            )
        if self.values is not None and not self.values:
            raise ValueError("values is empty")
        if self.column is not None and self.several is not None and (self.several.columns or self.several.flags):
            raise ValueError("give either column, or columns or flags in several")
        return self

    @property
    def needs_numbers(self) -> bool:
        """True if the values are numbers, so that words such as NA are missing."""
        return self.identity is not None or self.bands is not None

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns that the field called `name` is read from."""
        several = self.several
        return (several and (several.columns or several.flags)) or (self.column or name,)


class NumericSection(Section):
    """A numeric column. After its transform it is standardised on the scenario's own training rows."""

    column: ColumnName | None = None
    transform: Literal["none", "log1p"] = "none"
    clip: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Lowest and highest value, in the file's unit. Values are clipped before the transform."""
    missing: Annotated[tuple[NumberOrWord, ...], Field(strict=False)] = ()
    """Numbers and words that stand for a missing value, which becomes the mean. Empty texts, `NA`, `N/A`, `NaN`,
    `NULL`, `None` and `\\N` do in any case."""
    scenarios: ScenarioNames | None = None
    """Scenarios that have the column; in others the value is missing. The default is all of them."""

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """Numbers that stand for a missing value."""
        return tuple(value for value in self.missing if isinstance(value, float))

    @property
    def missing_words(self) -> tuple[str, ...]:
        """Words that stand for a missing value."""
        return tuple(value for value in self.missing if isinstance(value, str))

    @field_validator("clip")
    @classmethod
    def _ordered(cls, clip: tuple[float, float] | None) -> tuple[float, float] | None:
        if clip is not None and not clip[0] < clip[1]:
            raise ValueError("the first must be below the second")
        return clip
