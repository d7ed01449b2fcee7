"""Schema of a data set, ``datasets/NAME.yaml``: the contents of its files and the use of their columns, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from pfmsmtrec_flwr.data.schema.column_form import PLAIN, ColumnForm
from pfmsmtrec_flwr.data.schema.consistency import check_consistency
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection, NumericSection
from pfmsmtrec_flwr.data.schema.scenario_section import ScenarioSection
from pfmsmtrec_flwr.data.schema.split_sections import SplitSection
from pfmsmtrec_flwr.data.schema.table_sections import JoinSection, TableSection
from pfmsmtrec_flwr.data.schema.task_sections import NegativesSection, TaskSection
from pfmsmtrec_flwr.data.schema.time_section import TimeSection
from pfmsmtrec_flwr.data.schema.values import (
    ColumnName,
    FieldName,
    FolderName,
    ScenarioNames,
    expand_columns,
)
from pfmsmtrec_flwr.data.store.manifest import STORE_VERSION
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.places import top_folder
from pfmsmtrec_flwr.plugins import DATASETS_GROUP, Catalog
from pfmsmtrec_flwr.validation import Section, find_yaml, parse, read_yaml, yaml_files

DATASETS_FOLDER = top_folder() / "datasets"
SCHEMA_NAME = "schema.yaml"
"""Name of the schema's file in a prepared store."""

_Count = Annotated[int, Field(ge=1)]


class DatasetSchema(Section):
    """Schema of one data set."""

    name: FolderName
    title: str
    licence: str
    url: str
    table: TableSection
    joins: Annotated[tuple[JoinSection, ...], Field(strict=False)] = ()
    scenario: ScenarioSection
    tasks: Annotated[dict[FieldName, TaskSection], Field(min_length=1)]
    """Label of each task, by the task's name. A column's name alone means a column of 0 and 1."""
    users: ColumnName | None = None
    """Column of the user id, which is kept beside the rows for grouped metrics."""
    times: dict[ColumnName, TimeSection] = Field(default_factory=dict)
    """Columns of times that the split or a field reads, and their forms. The form of a column of the split that is not
    here is found in its first rows."""
    split: SplitSection
    fields: Annotated[dict[FieldName, FieldSection], Field(min_length=1)]
    """Categorical fields by name. ``c_{1..16}`` stands for a run of fields, and its `column` may be a run too."""
    numeric: dict[FieldName, NumericSection] = Field(default_factory=dict)
    """Numeric columns by name, with runs as in `fields`."""
    negatives: NegativesSection | None = None
    expected_rows: dict[FolderName, _Count] = Field(default_factory=dict)
    """Approximate rows of the published data set by scenario, to detect an incomplete copy."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _columns_of_tasks(cls, tasks: Any) -> Any:
        if not isinstance(tasks, dict):
            return tasks
        return {name: {"column": task} if isinstance(task, str) else task for name, task in tasks.items()}

    @field_validator("fields", "numeric", mode="before")
    @classmethod
    def _runs(cls, columns: Any) -> Any:
        return expand_columns(columns)

    @model_validator(mode="after")
    def _consistent(self) -> DatasetSchema:
        check_consistency(self)
        return self

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Names of the scenarios, sorted."""
        return tuple(sorted(self.scenario.all_names()))

    def tasks_of(self, scenario: str) -> dict[str, TaskSection]:
        """Return the tasks that a scenario has."""
        return {name: task for name, task in self.tasks.items() if has(task.scenarios, scenario)}

    def feature_columns(self) -> dict[str, tuple[str, ...]]:
        """Return the columns that each field and numeric column is read from."""
        fields = {name: spec.columns(name) for name, spec in self.fields.items()}
        return fields | {name: (spec.column or name,) for name, spec in self.numeric.items()}

    def form_of(self, column: str) -> ColumnForm:
        """Return how the values of a column are written, in the main table or the first side table that says so."""
        return next((table.columns[column] for table in (self.table, *self.joins) if column in table.columns), PLAIN)

    def _zeros(self, field: str) -> list[str]:
        kept = any(self.form_of(column).leading_zeros == "keep" for column in self.fields[field].columns(field))
        return ["leading zeros kept"] if kept else []

    def written_by(self, scenario: str) -> DatasetSchema:
        """Return the schema with the forms in which the files of a scenario are written."""
        joins = tuple(join.written_by(scenario) for join in self.joins)
        return self.model_copy(update={"table": self.table.written_by(scenario), "joins": joins})

    def units(self, chosen: Iterable[str]) -> list[tuple[str, ...]]:
        """Group the chosen scenarios by the files that they come from."""
        return [(name,) for name in chosen] if self.scenario.names else [tuple(chosen)]

    @property
    def schema_hash(self) -> str:
        """Digest of all on which nodes must agree, without what is learned locally and the form of the files."""
        document = {
            "store_version": STORE_VERSION,
            "tasks": [[name, sorted(task.scenarios or ())] for name, task in self.tasks.items()],
            "fields": [
                [name, "local"] if field.embedding == "local" else [*_agreed(name, field), *self._zeros(name)]
                for name, field in self.fields.items()
            ],
            "numeric": [_agreed(name, spec) for name, spec in self.numeric.items()],
            "negatives": self.negatives.model_dump(mode="json") if self.negatives else None,
        }
        return digest(document)


def load_schema(name_or_path: str | Path, *, negatives: int | None = None) -> DatasetSchema:
    """Read a schema from `datasets/` or from another YAML file.

    Parameters
    ----------
    name_or_path
        Name in `datasets/`, or path of a YAML file.
    negatives
        Replacement for `negatives.per_positive`.

    Raises
    ------
    UserError
        No such schema exists (the message lists the known names), it is not valid, or it has no section negatives.
    """
    path = find_schema(str(name_or_path))
    document = _read_schema(path)
    if negatives is not None:
        if not isinstance(document.get("negatives"), dict):
            raise UserError(f"{path} has no section negatives, which says how rows are made up: leave out --negatives")
        document["negatives"] = document["negatives"] | {"per_positive": negatives}
    return parse(DatasetSchema, document, str(path))


def _read_schema(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a schema. Missing keys, fields and numeric columns come from the schema that it extends."""
    document = read_yaml(path, as_written=True)
    if "extends" not in document:
        return document
    if path in extending:
        raise UserError(f"{path}: key 'extends': it extends itself")
    named = str(document.pop("extends"))
    beside = path.parent / named
    base = _read_schema(beside if beside.suffix and beside.is_file() else find_schema(named), (*extending, path))
    merged: dict[str, Any] = base | document
    for key in ("fields", "numeric"):
        if isinstance(base.get(key), dict) and isinstance(document.get(key), dict):
            try:
                merged[key] = expand_columns(base[key]) | expand_columns(document[key])
            except ValueError as error:
                raise UserError(f"{path}: key '{key}': {error}") from None
    return merged


def find_schema(name_or_path: str) -> Path:
    """Return the path of a schema.

    Raises
    ------
    UserError
        No such file exists. The message lists the known names.
    """
    return find_yaml("data set", name_or_path, known_schemas())


def known_schemas() -> Catalog[Path]:
    """Return the schemas in `datasets/`, and those of other installed packages, by name."""
    return Catalog("data set", DATASETS_GROUP, yaml_files(DATASETS_FOLDER), _announced_schema)


def _announced_schema(name: str, source: str, package: object) -> Path:
    """Return the file ``NAME.yaml`` in a package."""
    if not isinstance(package, ModuleType):
        raise UserError(f"{source}: got {package!r}, expected a package with the file {name}.yaml in it")
    path = Path(str(files(package) / f"{name}.yaml"))
    if not path.is_file():
        raise UserError(f"{source}: there is no file {path}")
    return path


def has(scenarios: ScenarioNames | None, scenario: str) -> bool:
    """Return whether a section, which may name its scenarios, applies to one of them."""
    return scenarios is None or scenario in scenarios


def digest(document: Any) -> str:
    """Return a 128-bit digest of a JSON document."""
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()


def _agreed(name: str, section: Section) -> list[Any]:
    document = section.model_dump(mode="json", exclude={"column": True, "several": {"columns", "flags"}})
    for key in ("several", "bands"):  # without them a field has the digest that it had before the keys existed
        if document.get(key, 0) is None:
            del document[key]
    return [name, document]
