"""What a data set's files hold and what becomes of their columns: ``datasets/NAME.yaml``, typed and checked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

import pfmsmtrec_flwr
from pfmsmtrec_flwr.data.store import STORE_VERSION
from pfmsmtrec_flwr.validation import Section, find_yaml, parse, read_yaml

DATASETS_FOLDER = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent / "datasets"

FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
ColumnName = Annotated[str, Field(min_length=1)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Scalar = str | int | float
Share = Annotated[float, Field(gt=0, lt=1)]
OneCharacter = Annotated[str, Field(min_length=1, max_length=1)]
MissingValues = Annotated[tuple[Scalar, ...], Field(strict=False)]
Texts = Annotated[tuple[ColumnName, ...], Field(strict=False, min_length=1)]


class TableSpec(Section):
    """One table: one file or many, CSV or Parquet (by their ending)."""

    files: Texts
    """Globs below the source folder; all files that match are read, in the order of their names."""
    delimiter: OneCharacter = ","
    quote: OneCharacter = '"'
    header: Annotated[tuple[ColumnName, ...], Field(strict=False)] = ()
    """Names of the columns, for CSV files without a header line."""
    missing: Annotated[tuple[str, ...], Field(strict=False)] = ("",)
    """Texts that mean a missing value, in every column."""


class JoinSpec(TableSpec):
    """A side table, loaded into memory once; its columns are added to the rows of the main table."""

    key: ColumnName
    """Column of the main table."""
    key_there: ColumnName | None = None
    """Column of the side table, if it has another name."""


class ScenarioSpec(Section):
    """Which column says the scenario, and which of its values are taken."""

    column: ColumnName
    values: Annotated[dict[Scalar, FolderName], Field(min_length=1)]
    """Value in the file: name of the scenario."""
    others: Literal["drop", "error"] = "error"
    """What becomes of rows with another value."""

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: dict[Scalar, str]) -> dict[Scalar, str]:
        if len(set(values.values())) != len(values):
            raise ValueError("scenario names must not repeat")
        return values


class LastDays(Section):
    """How many of the last days, common to all scenarios, are held out."""

    validation: Annotated[int, Field(ge=1)] = 1
    test: Annotated[int, Field(ge=1)] = 1


class DateSplit(Section):
    """Split by day: given values, or the last ones in the data."""

    column: ColumnName
    last_days: LastDays | None = None
    validation: Annotated[tuple[Scalar, ...], Field(strict=False)] = ()
    test: Annotated[tuple[Scalar, ...], Field(strict=False)] = ()

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
    """Split at random by a key: rows with the same key, such as one page of results, go to one split."""

    key: ColumnName


class SplitSpec(Section):
    """The split rule: exactly one of these."""

    by_date: DateSplit | None = None
    random: RandomSplit | None = None
    by_user: ShareSplit | None = None

    @model_validator(mode="after")
    def _one(self) -> SplitSpec:
        _exactly_one(self, ("by_date", "random", "by_user"))
        return self


class IdentityEncoder(Section):
    """The value is a number 0..size-1; row = value + 1."""

    size: Annotated[int, Field(ge=1)]


class HashEncoder(Section):
    """row = 1 + hash(value) mod buckets, the same on every machine."""

    buckets: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)] = 0


class VocabularyEncoder(Section):
    """Learned on the scenario's own training rows: the most frequent value gets row 1."""

    min_count: Annotated[int, Field(ge=1)] = 1
    """Rarer values get row 0."""
    max_size: Annotated[int, Field(ge=1)] | None = None
    """Values kept, at most."""


class FieldSpec(Section):
    """A categorical field: exactly one encoder, and whose its embedding table is."""

    column: ColumnName | None = None
    """Column it is read from; by default the one of its name."""
    transform: Literal["none", "hour", "first"] = "none"
    """hour: 2359 becomes 23. first: the first element of a comma-separated list."""
    missing: MissingValues = ()
    """Sentinels that mean a missing value."""
    embedding: Literal["local", "federated"]
    identity: IdentityEncoder | None = None
    hash: HashEncoder | None = None
    values: Annotated[tuple[Scalar, ...], Field(strict=False)] | None = None
    """A vocabulary declared here, the same for everyone."""
    vocabulary: VocabularyEncoder | None = None

    @model_validator(mode="after")
    def _sound(self) -> FieldSpec:
        _exactly_one(self, ("identity", "hash", "values", "vocabulary"))
        if self.vocabulary is not None and self.embedding == "federated":
            raise ValueError(
                "a federated field cannot learn its vocabulary locally, for a row would not mean the same value "
                "everywhere: use identity, hash or values, or make the embedding local"
            )
        if self.values is not None and not self.values:
            raise ValueError("values is empty")
        return self


class NumericSpec(Section):
    """A numeric column; after its transform it is standardised on the scenario's own training rows."""

    column: ColumnName | None = None
    transform: Literal["none", "log1p"] = "none"
    clip: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Lowest and highest value kept, in the file's unit, before the transform."""
    missing: Annotated[tuple[float, ...], Field(strict=False)] = ()
    """Sentinels that mean a missing value, which becomes the mean."""

    @field_validator("clip")
    @classmethod
    def _ordered(cls, clip: tuple[float, float] | None) -> tuple[float, float] | None:
        if clip is not None and not clip[0] < clip[1]:
            raise ValueError("the first must be below the second")
        return clip


class DatasetSchema(Section):
    """One data set."""

    name: FolderName
    title: str
    licence: str
    url: str
    table: TableSpec
    joins: Annotated[tuple[JoinSpec, ...], Field(strict=False)] = ()
    scenario: ScenarioSpec
    tasks: Annotated[dict[FieldName, ColumnName], Field(min_length=1)]
    """Name of the task: column with its label, 0 or 1."""
    users: ColumnName | None = None
    """Column of the user's id, kept beside the rows for grouped metrics."""
    split: SplitSpec
    fields: Annotated[dict[FieldName, FieldSpec], Field(min_length=1)]
    numeric: dict[FieldName, NumericSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> DatasetSchema:
        if self.split.by_user is not None and self.users is None:
            raise ValueError("split.by_user needs the key users")
        labels = set(self.tasks.values())
        read = [(name, field.column or name) for name, field in self.fields.items()]
        read += [(name, number.column or name) for name, number in self.numeric.items()]
        for name, column in read:
            if column in labels:
                raise ValueError(f"'{name}' reads the label column '{column}': the label would be a feature")
        return self

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Names of the scenarios, sorted."""
        return tuple(sorted(self.scenario.values.values()))

    @property
    def schema_hash(self) -> str:
        """Digest of all that must agree between nodes; nothing that is learned locally, no file or column names."""
        document = {
            "store_version": STORE_VERSION,
            "tasks": list(self.tasks),
            "fields": [_agreed_field(name, spec) for name, spec in self.fields.items()],
            "numeric": [
                [name, spec.model_dump(mode="json", exclude={"column"})] for name, spec in self.numeric.items()
            ],
        }
        return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()


def load_schema(name_or_path: str | Path) -> DatasetSchema:
    """Read the schema that a name in `datasets/` or a path of a YAML file gives.

    Raises
    ------
    UserError
        There is none (the message lists the known names), or it is not valid.
    """
    path = find_schema(str(name_or_path))
    return parse(DatasetSchema, read_yaml(path), str(path))


def find_schema(name_or_path: str) -> Path:
    """Return the file that a name in `datasets/`, or a path, stands for.

    Raises
    ------
    UserError
        There is none; the message lists the known names.
    """
    return find_yaml("data set", name_or_path, DATASETS_FOLDER)


def _exactly_one(section: Section, keys: tuple[str, ...]) -> None:
    given = [key for key in keys if getattr(section, key) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(keys)}; got {', '.join(given) or 'none'}")


def _agreed_field(name: str, spec: FieldSpec) -> list[Any]:
    if spec.embedding == "local":
        return [name, "local"]
    return [name, spec.model_dump(mode="json", exclude={"column"})]
