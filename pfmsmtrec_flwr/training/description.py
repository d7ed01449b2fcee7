"""Description of a scenario for those who do not see its rows: sizes, tasks, positives.

Examples
--------
>>> description = Description(
...     scenario="NL", dataset="shop", schema_hash="1f", tasks=["click"], numeric=2, fields=["item", "user"],
...     rows=[90, 1], federated=[True, False], examples={"train": 50, "validation": 10, "test": 10},
...     train_positives=[5], used_rows=50, used_positives=[5],
... )
>>> description.spec().tasks, [field.name for field in description.spec().fields]
(('click',), ['item', 'user'])
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.rules import split_rule_of
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split, made_up_rows, unlabelled_rows
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.validation import Section, parse

MOST_TABLE_ROWS = 2**31 - 1
"""Largest number of rows of a table; row numbers travel as int32."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("input should have printable characters only")
    return text


ScenarioName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-][A-Za-z0-9_.\-]*$", max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Text = Annotated[str, Field(max_length=10_000), AfterValidator(_printable)]
Rows = Annotated[int, Field(ge=0, le=2**53)]
TableRows = Annotated[int, Field(ge=1, le=MOST_TABLE_ROWS)]
Columns = Annotated[int, Field(ge=0, le=100_000)]
SplitName = Literal["train", "validation", "test"]


class Description(Section):
    """Description of a scenario, whose lists and counts fit together."""

    scenario: ScenarioName
    dataset: Name
    schema_hash: Name
    tasks: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    numeric: Columns
    fields: Annotated[list[Name], Field(max_length=10_000)]
    rows: list[TableRows]
    """Rows of each field's table; 1 for a local one, whose size stays in the scenario."""
    federated: list[bool]
    examples: dict[SplitName, Rows]
    """Rows of each split."""
    train_positives: list[Rows]
    """Positive training rows of each task."""
    used_rows: Rows
    """Training rows that the run uses."""
    used_positives: list[Rows]
    """Positives of each task among the training rows that the run uses."""
    labelled: dict[SplitName, list[Rows]] = Field(default_factory=dict)
    """Rows that have a label of each task, by split, where some rows have none."""
    used_labelled: list[Rows] = Field(default_factory=list)
    """Training rows that the run uses and that have a label of each task; empty: all have."""
    most: list[Annotated[int, Field(ge=1, le=100_000)]] = Field(default_factory=list)
    """Columns of each field; empty: one each."""
    split_rule: Text = ""
    """Rule by which the rows were split, without the names of a site's columns; empty where it is not known."""
    note: Text = ""
    """Remark for readers of the scenario's metrics, such as sampled negatives and rows without a label."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.tasks)) < len(self.tasks) or len(set(self.fields)) < len(self.fields):
            raise ValueError("a task or a field is there twice")
        by_field = {len(self.rows), len(self.federated), len(self.columns())}
        by_task = {len(counts) for counts in (self.train_positives, self.used_positives, *self.labelled.values())}
        if by_field != {len(self.fields)} or by_task | {len(self.used_labelled or self.tasks)} != {len(self.tasks)}:
            raise ValueError("lists of fields or of tasks differ in length")
        if set(self.examples) != set(get_args(SplitName)):
            raise ValueError("the numbers of rows are not those of train, validation and test")
        if any(rows != 1 for rows, there in zip(self.rows, self.federated, strict=True) if not there):
            raise ValueError("a local table has another registered size than 1")
        if sum(self.rows) > MOST_TABLE_ROWS:
            raise ValueError(f"the tables have more than {MOST_TABLE_ROWS} rows together")
        if not self._counts_fit():
            raise ValueError("positives, labelled rows, used rows and rows of a split do not fit together")
        return self

    def _counts_fit(self) -> bool:
        """Return whether no part of the rows is larger than the whole."""
        labelled = [rows <= self.examples[split] for split, counts in self.labelled.items() for rows in counts]
        positive = [*zip(self.train_positives, self.labelled_rows("train"), strict=True)]
        used = self.used_labelled or [self.used_rows] * len(self.tasks)
        positive += zip(self.used_positives, used, strict=True)
        parts = all(part <= whole for part, whole in positive)
        return all(labelled) and parts and max(used) <= self.used_rows <= self.examples["train"]

    def labelled_rows(self, split: SplitName) -> list[int]:
        """Return the number of rows of a split that have a label of each task."""
        return self.labelled.get(split) or [self.examples[split]] * len(self.tasks)

    def columns(self) -> list[int]:
        """Return the number of columns of each field."""
        return self.most or [1] * len(self.fields)

    def spec(self) -> ModelSpec:
        """Return the specification of the scenario's model, local tables aside."""
        fields = zip(self.fields, self.rows, self.federated, self.columns(), strict=True)
        return ModelSpec(tuple(FieldSpec(*field) for field in fields), self.numeric, tuple(self.tasks))


def training_rows(store: ScenarioStore, config: RunConfig) -> Split:
    """Return the training rows of a scenario that a run uses, a share of ``data.train_fraction``."""
    seed = derive_seed(config.seed, "fraction", store.scenario)
    return store.splits["train"].fraction(config.data.train_fraction, seed)


def describe(store: ScenarioStore, config: RunConfig) -> Description:
    """Return the description of a scenario, without the sizes of local tables, which count people."""
    used = training_rows(store, config)
    return parse(
        Description,
        {
            "scenario": store.scenario,
            "dataset": store.dataset,
            "schema_hash": store.schema_hash,
            "tasks": list(store.tasks),
            "numeric": len(store.numeric),
            "fields": [field.name for field in store.fields],
            "rows": [field.size if field.federated else 1 for field in store.fields],
            "federated": [field.federated for field in store.fields],
            "most": [field.most for field in store.fields],
            "examples": {name: len(split) for name, split in store.splits.items()},
            "train_positives": list(store.positives("train")),
            "used_rows": len(used),
            "used_positives": used.positives(),
            "labelled": {name: list(counts) for name, counts in store.labelled_rows.items()},
            "used_labelled": used.labelled() if used.unlabelled else [],
            "split_rule": split_rule_of(store),
            "note": "; ".join(filter(None, (made_up_rows(store), unlabelled_rows(store)))),
        },
        f"scenario {store.scenario}",
    )


def model_spec(store: ScenarioStore) -> ModelSpec:
    """Return what a prepared store says about the model."""
    fields = tuple(FieldSpec(field.name, field.size, field.federated, field.most) for field in store.fields)
    return ModelSpec(fields, len(store.numeric), store.tasks)
