"""Stores in memory, of arrays that a test writes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pfmsmtrec_flwr.data.store.manifest import SPLITS, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split


def split_of(
    categorical: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]] | None = None,
    *,
    numeric: Sequence[Sequence[float]] | None = None,
    users: Sequence[int] | None = None,
    truth: Sequence[Sequence[float]] | None = None,
) -> Split:
    """Return rows; without labels the first of two rows is positive, in one task."""
    rows = len(categorical)
    return Split(
        categorical=np.array(categorical, dtype=np.int32).reshape(rows, -1),
        numeric=np.zeros((rows, 0), np.float32) if numeric is None else np.array(numeric, dtype=np.float32),
        labels=np.array([[1 - row % 2] for row in range(rows)] if labels is None else labels, dtype=np.uint8),
        users=None if users is None else np.array(users, dtype=np.int64),
        probabilities=None if truth is None else np.array(truth, dtype=np.float32),
    )


def store_of(scenario: str, fields: Sequence[Field], splits: Mapping[str, Split] | Split, **more: Any) -> ScenarioStore:
    """Return a store; a single split stands for all three."""
    by_name = dict.fromkeys(SPLITS, splits) if isinstance(splits, Split) else splits
    first = by_name["train"]
    described: dict[str, Any] = {
        "path": Path("/nowhere"),
        "dataset": "hand",
        "scenario": scenario,
        "fields": tuple(fields),
        "numeric": tuple(f"number_{column}" for column in range(first.numeric.shape[1])),
        "tasks": ("click", "like")[: first.labels.shape[1]],
        "schema_hash": "5" * 32,
        "splits": by_name,
        "label_counts": {
            name: tuple(int(count) for count in rows.labels.sum(axis=0)) for name, rows in by_name.items()
        },
    }
    return ScenarioStore(**described | more)
