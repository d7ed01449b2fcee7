"""Check of a prepared data set for leaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from pfmsmtrec_flwr.data.check.findings import Finding
from pfmsmtrec_flwr.data.check.odd_days import findings_of_days
from pfmsmtrec_flwr.data.check.prepared_scenario import check_columns
from pfmsmtrec_flwr.data.rules import schema_of
from pfmsmtrec_flwr.data.schema.document import DatasetSchema, has
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection
from pfmsmtrec_flwr.data.store.listing import prepared_scenarios
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL
from pfmsmtrec_flwr.data.store.reader import ScenarioStore

_BLOCK_ROWS = 1 << 20


def check_dataset(data_root: Path, dataset: str) -> list[Finding]:
    """Return the findings of all prepared scenarios of a data set.

    Raises
    ------
    UserError
        None is prepared, or a file is damaged.
    """
    stores = prepared_scenarios(data_root, dataset)
    for store in stores:
        store.verify()
    return check_stores(stores)


def check_stores(stores: Sequence[ScenarioStore]) -> list[Finding]:
    """Return the findings of prepared scenarios, whole columns at a time; see `Finding`."""
    found: list[Finding] = []
    for store in stores:
        schema = schema_of(store)
        found += _alike_tasks(store)
        found += check_columns(store, _lacking(schema, store.scenario), _texts(schema))
    return [*found, *findings_of_days(stores)]


def _alike_tasks(store: ScenarioStore) -> list[Finding]:
    """Return the findings of two tasks with equal or opposite labels."""
    pairs = list(combinations(range(len(store.tasks)), 2))
    rows, equal = np.zeros(len(pairs), np.int64), np.zeros(len(pairs), np.int64)
    for split in store.splits.values():
        for start in range(0, len(split), _BLOCK_ROWS):
            labels = np.ascontiguousarray(split.labels[start : start + _BLOCK_ROWS].T)
            for place, (one, other) in enumerate(pairs):
                both = (labels[one] != MISSING_LABEL) & (labels[other] != MISSING_LABEL)
                rows[place] += both.sum()
                equal[place] += (both & (labels[one] == labels[other])).sum()
    return [
        Finding(
            store.scenario,
            f"{store.tasks[one]}, {store.tasks[other]}",
            f"tasks with {'equal' if same else 'opposite'} labels",
            int(count),
            "leave one of them out",
            leak=True,
        )
        for (one, other), count, same in zip(pairs, rows, equal, strict=True)
        if count and same in (0, count)
    ]


def _lacking(schema: DatasetSchema | None, scenario: str) -> list[str]:
    """Return the fields and numeric columns that a scenario is declared to lack."""
    if schema is None:
        return []
    fields = [name for name, spec in schema.fields.items() if not has(spec.scenarios, scenario)]
    return fields + [name for name, number in schema.numeric.items() if not has(number.scenarios, scenario)]


def _texts(schema: DatasetSchema | None) -> dict[str, Callable[[int], str]]:
    """Return functions from rows of tables to the values that the schema declares."""
    fields = schema.fields if schema is not None else {}
    return {name: partial(_text, spec) for name, spec in fields.items() if spec.values or spec.identity}


def _text(spec: FieldSection, row: int) -> str:
    return f"value {spec.values[row - 1] if spec.values else row - 1}"
