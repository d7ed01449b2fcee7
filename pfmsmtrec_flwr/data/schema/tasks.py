"""Sections of a schema about labels: the tasks, and rows made up where a table holds positive ones only."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pfmsmtrec_flwr.data.schema.names import ColumnName, FieldName, Scalar, ScenarioNames
from pfmsmtrec_flwr.validation import Section

NonEmptyScalars = Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1)]


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
