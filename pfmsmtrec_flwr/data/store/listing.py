"""The stores below a data folder."""

from __future__ import annotations

from pathlib import Path

from pfmsmtrec_flwr.data.store.manifest import MANIFEST
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.versions import CURRENT
from pfmsmtrec_flwr.errors import UserError


def is_store(path: Path) -> bool:
    """Return whether a scenario's folder holds a store, of whatever state."""
    return (path / CURRENT).is_file() or (path / MANIFEST).is_file()


def list_scenarios(data_root: Path, dataset: str) -> list[ScenarioStore]:
    """Open every store of a data set, sorted by name; an empty list where there is none."""
    return [ScenarioStore.open(data_root / dataset / name) for name in stored_names(data_root, dataset)]


def stored_names(data_root: Path, dataset: str) -> list[str]:
    """Return the names of a data set's scenarios, sorted; no store is opened, so one may be damaged."""
    folder = data_root / dataset
    if not folder.is_dir():
        return []
    return sorted(child.name for child in folder.iterdir() if not child.name.startswith(".") and is_store(child))


def prepared_scenarios(data_root: Path, dataset: str) -> list[ScenarioStore]:
    """Open every store of a data set as `list_scenarios` does.

    Raises
    ------
    UserError
        No data set of that name is prepared; the message lists those that are.
    """
    stores = list_scenarios(data_root, dataset)
    if not stores:
        known = ", ".join(dataset_names(data_root)) or "nothing yet"
        raise not_prepared(data_root, dataset, f" (prepared: {known})")
    return stores


def not_prepared(data_root: Path, dataset: str, remark: str = "") -> UserError:
    """Return the error for a data set of which nothing is prepared; `remark` comes after the folder."""
    return UserError(
        f"no prepared data of '{dataset}' in {data_root}{remark}: run `pfmsmtrec prepare {dataset} --source DIR`, "
        "or give its folder with --data"
    )


def dataset_names(data_root: Path) -> list[str]:
    """Return the data sets that have at least one prepared scenario, sorted."""
    if not data_root.is_dir():
        return []
    folders = sorted(child.name for child in data_root.iterdir() if child.is_dir())
    return [name for name in folders if not name.startswith(".") and list_scenarios(data_root, name)]
