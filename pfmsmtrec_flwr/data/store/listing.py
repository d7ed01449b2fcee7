"""The stores below a data folder."""

from __future__ import annotations

from pathlib import Path

from pfmsmtrec_flwr.data.store.manifest import MANIFEST
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.versions import CURRENT


def is_store(path: Path) -> bool:
    """Return whether a scenario's folder holds a store, of whatever state."""
    return (path / CURRENT).is_file() or (path / MANIFEST).is_file()


def list_scenarios(data_root: Path, dataset: str) -> list[ScenarioStore]:
    """Open every store of a data set, sorted by name; an empty list where there is none."""
    folder = data_root / dataset
    if not folder.is_dir():
        return []
    found = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    return [ScenarioStore.open(child) for child in found if is_store(child)]


def dataset_names(data_root: Path) -> list[str]:
    """Return the data sets that have at least one prepared scenario, sorted."""
    if not data_root.is_dir():
        return []
    folders = sorted(child.name for child in data_root.iterdir() if child.is_dir())
    return [name for name in folders if not name.startswith(".") and list_scenarios(data_root, name)]
