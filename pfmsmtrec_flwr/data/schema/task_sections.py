"""Sections of a schema for the tasks and for sampled negatives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pfmsmtrec_flwr.data.schema.values import ColumnName, FieldName, Scalar, Scalars, ScenarioNames
from pfmsmtrec_flwr.validation import Section

NonEmptyScalars = Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1)]


class TaskSection(Section):
    """A task: the column of its label, and the values that mean yes and no, or the number from which it is yes."""

    column: ColumnName
    positive: NonEmptyScalars = (1, "true")
    negative: NonEmptyScalars = (0, "false")
    at_least: float | None = None
    """Number from which the label is 1. Each lower number is 0."""
    unlabelled: Literal["refuse", "skip"] = "refuse"
    """Treatment of rows without a label: they are an error, or they do not count for this task."""
    missing: Scalars = ()
    """Values that stand for a missing label, beside the empty one. With `at_least` they are numbers."""
    scenarios: ScenarioNames | None = None
    """Scenarios that have the task. The default is all of them."""

    @property
    def expected(self) -> str:
        """Description of a valid label for messages."""
        yes, no = (
            values if key in self.model_fields_set else values[:1]
            for key, values in (("positive", self.positive), ("negative", self.negative))
        )
        return f"a label {', '.join(map(str, no))} or {', '.join(map(str, yes))}"

    @model_validator(mode="after")
    def _disjoint(self) -> TaskSection:
        if self.at_least is not None and {"positive", "negative"} & self.model_fields_set:
            raise ValueError("give either at_least, or positive and negative")
        if both := set(map(str, self.positive)) & set(map(str, self.negative)):
            raise ValueError(f"{min(both)} is both positive and negative")
        if self.missing and self.unlabelled != "skip":
            raise ValueError("missing names values without a label: add unlabelled: skip")
        labels = (*self.positive, *self.negative) if self.at_least is None else ()
        if both := set(map(str, self.missing)) & set(map(str, labels)):
            raise ValueError(f"{min(both)} is both a label and missing")
        self.missing_numbers()
        return self

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the document without the keys of missing labels where they are at their defaults.

        A data set that was prepared before there were these keys is then still known as prepared.
        """
        document: dict[str, Any] = dump(self)
        defaults = {"unlabelled": "refuse", "missing": ()}
        return {
            key: value for key, value in document.items() if key not in defaults or getattr(self, key) != defaults[key]
        }

    def missing_numbers(self) -> list[float]:
        """Return the values that stand for a missing label as numbers, which they are beside `at_least`."""
        if self.at_least is None:
            return []
        try:
            return [float(value) for value in self.missing]
        except ValueError:
            raise ValueError(f"missing: got {list(self.missing)}, expected numbers beside at_least") from None


class NegativesSection(Section):
    """Negatives to sample for tables that hold positive rows only: items for which the user has no row."""

    task: FieldName
    """Task whose label is 1 in every row of the table."""
    scenarios: ScenarioNames
    """Scenarios whose tables hold positive rows only."""
    item: FieldName
    """Field that identifies the item of a row."""
    item_features: Annotated[tuple[FieldName, ...], Field(strict=False)] = ()
    """Other fields and numeric columns that belong to the item. All others belong to the user."""
    per_positive: Annotated[int, Field(ge=0)] = 0
    """Number of sampled rows per row of the table. With 0 the task is refused for these scenarios."""
    seed: int = 0
