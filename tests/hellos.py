"""A scenario as a node describes it in the handshake."""

from __future__ import annotations

from typing import Any


def described(name: str, **changes: Any) -> dict[str, Any]:
    """Return the document of a scenario of a data set that no store holds."""
    return {
        "scenario": name,
        "dataset": "tiny",
        "schema_hash": "a" * 32,
        "tasks": ["click", "like"],
        "numeric": 2,
        "fields": ["item", "person"],
        "rows": [12, 1],
        "federated": [True, False],
        "examples": {"train": 10, "validation": 5, "test": 5},
        "train_positives": [5, 1],
        "used_rows": 10,
        "used_positives": [5, 1],
    } | changes
