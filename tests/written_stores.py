"""Small stores on disk, of rows that follow from their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pfmsmtrec_flwr.data.store.manifest import SPLITS, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.writer import StoreWriter


def writer(path: Path, **changes: Any) -> StoreWriter:
    arguments: dict[str, Any] = {
        "dataset": "shop",
        "scenario": path.name,
        "fields": [Field("user", 10, False), Field("item", 5, True)],
        "numeric": ["price"],
        "tasks": ["ctr", "ctcvr"],
        "schema_hash": "abc",
        "users": True,
    }
    return StoreWriter(path, **(arguments | changes))


def rows(start: int, stop: int) -> dict[str, np.ndarray]:
    number = np.arange(start, stop)
    return {
        "categorical": np.stack([number % 10, number % 5], axis=1),
        "numeric": number[:, None] / 4,
        "labels": np.stack([number % 2, number % 4 == 0], axis=1),
        "users": number * 2**40,
    }


def written(path: Path, extra: dict[str, Any] | None = None, first: int = 0) -> ScenarioStore:
    with writer(path) as each:
        for split in SPLITS:
            each.append(split, **rows(first, first + 7))
            each.append(split, **rows(first + 7, first + 12))
        return each.commit(extra)
