"""Section of a schema that defines the scenarios."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pfmsmtrec_flwr.data.schema.values import Bands, ColumnName, FolderName, Scalar, ScenarioNames
from pfmsmtrec_flwr.validation import Section


class ScenarioSection(Section):
    """Scenarios: values of a column, bands of a numeric column, or files of their own."""

    column: ColumnName | None = None
    values: Annotated[dict[Scalar, FolderName], Field(min_length=1)] | None = None
    """Name of the scenario for each value of the column."""
    others: Literal["drop", "error"] = "error"
    """Treatment of rows with another value, or without a number for `bands`."""
    bands: Bands | None = None
    """Numbers of the column at which the next band begins, ascending. The bands 25 and 35 of a column ``age`` make the
    scenarios ``age-under-25``, ``age-from-25`` and ``age-from-35``."""
    names: ScenarioNames | None = None
    """Scenarios with files of their own. Each name replaces ``{scenario}`` in `files`."""

    @model_validator(mode="after")
    def _one_rule(self) -> ScenarioSection:
        rules = [key for key in ("values", "bands", "names") if getattr(self, key) is not None]
        if len(rules) != 1 or (self.column is None) != (rules == ["names"]):
            raise ValueError("give either column and values, column and bands, or names")
        names = self.all_names()
        if len(set(names)) != len(names):
            raise ValueError("scenario names must not repeat")
        return self

    def all_names(self) -> list[str]:
        """Return the names of the scenarios, those of bands in ascending order and fit for folders."""
        if self.bands is not None:
            column = re.sub(r"[^A-Za-z0-9._-]+", "-", self.column or "").lstrip("._-") or "scenario"
            starts = [f"{number:.15g}".replace("+", "") for number in self.bands]
            return [f"{column}-under-{starts[0]}", *(f"{column}-from-{start}" for start in starts)]
        return list(self.values.values()) if self.values is not None else list(self.names or ())
