"""Section of a schema that defines the scenarios."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pfmsmtrec_flwr.data.schema.values import ColumnName, FolderName, Scalar, ScenarioNames
from pfmsmtrec_flwr.validation import Section


class ScenarioSection(Section):
    """Scenarios: values of a column, or files of their own."""

    column: ColumnName | None = None
    values: Annotated[dict[Scalar, FolderName], Field(min_length=1)] | None = None
    """Name of the scenario for each value of the column."""
    others: Literal["drop", "error"] = "error"
    """Treatment of rows with another value."""
    names: ScenarioNames | None = None
    """Scenarios with files of their own. Each name replaces ``{scenario}`` in `files`."""

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
