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

from pydantic import Field

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.rules import split_rule_of
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split, made_up_rows, unlabelled_rows
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.validation import Section, parse


class Description(Section):
    """Description of a scenario."""

    scenario: str
    dataset: str
    schema_hash: str
    tasks: list[str]
    numeric: int
    fields: list[str]
    rows: list[int]
    """Rows of each field's table; 1 for a local one, whose size stays in the scenario."""
    federated: list[bool]
    examples: dict[str, int]
    """Rows of each split."""
    train_positives: list[int]
    """Positive training rows of each task."""
    used_rows: int
    """Training rows that the run uses."""
    used_positives: list[int]
    """Positives of each task among the training rows that the run uses."""
    labelled: dict[str, list[int]] = Field(default_factory=dict)
    """Rows that have a label of each task, by split, where some rows have none."""
    used_labelled: list[int] = Field(default_factory=list)
    """Training rows that the run uses and that have a label of each task; empty: all have."""
    most: list[int] = Field(default_factory=list)
    """Columns of each field; empty: one each."""
    split_rule: str = ""
    """Rule by which the rows were split, without the names of a site's columns; empty where it is not known."""
    note: str = ""
    """Remark for readers of the scenario's metrics, such as sampled negatives and rows without a label."""

    def labelled_rows(self, split: str) -> list[int]:
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
