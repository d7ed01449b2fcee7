"""Scenarios of a data set: their names and sizes below a folder, and their opened stores."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from pfmsmtrec_flwr.config import DataSettings, RunConfig
from pfmsmtrec_flwr.data.rules import refuse_other_rules, rules_of
from pfmsmtrec_flwr.data.store.listing import list_scenarios, not_prepared, stored_names
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.versions import current_version
from pfmsmtrec_flwr.data.synthetic.made_stores import ensure_synthetic
from pfmsmtrec_flwr.data.synthetic.settings import SyntheticSettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse, safe_folder

SYNTHETIC = "synthetic"


def chosen_scenarios(config: RunConfig, root: Path) -> dict[str, int]:
    """Return the number of training rows of each participating scenario below ``root``, by name.

    Raises
    ------
    UserError
        Nothing is prepared there, a participating scenario is missing, or two were prepared under different rules.
    """
    stores = [] if config.data.name == SYNTHETIC else _stores(config.data, root)
    sizes = _sizes(stores) if stores else known_scenarios(config.data, root)
    chosen = config.federation.scenarios or tuple(sizes)
    require_known(chosen, list(sizes), "this data set")
    rules = {store.scenario: rules_of(store) for store in stores if store.scenario in chosen}
    refuse_other_rules(config.data.name, rules)
    return {name: sizes[name] for name in chosen}


def known_scenarios(data: DataSettings, root: Path) -> dict[str, int]:
    """Return the number of training rows of each scenario of a data set below ``root``, by name.

    Raises
    ------
    UserError
        Nothing is prepared there.
    """
    if data.name == SYNTHETIC:
        return dict(synthetic_settings(data).train_rows)
    return _sizes(_stores(data, root))


def scenario_names(data: DataSettings, root: Path) -> list[str]:
    """Return the names of a data set's scenarios below ``root``; no store is opened.

    Raises
    ------
    UserError
        Nothing is prepared there.
    """
    if data.name == SYNTHETIC:
        return list(synthetic_settings(data).train_rows)
    safe_folder(root, data.name)  # the name comes with the server's configuration
    return stored_names(root, data.name) or _nothing_prepared(data, root)


def open_store(data: DataSettings, root: Path, scenario: str) -> ScenarioStore:
    """Open a scenario's prepared store below ``root``; made-up rows are made first."""
    if data.name == SYNTHETIC:
        return ensure_synthetic(synthetic_settings(data), scenario, root)
    path = safe_folder(root, data.name, scenario)
    return _opened(path, current_version(path))


def open_checked_store(data: DataSettings, root: Path, scenario: str) -> ScenarioStore:
    """Open a scenario's store as `open_store` does, and check its rows before a run trains on them.

    The checksums of a version are compared once in a process, unless `data.verify` is false. Labels are always checked.
    Made-up rows that are damaged are made again.

    Raises
    ------
    UserError
        A checksum differs, or a label is neither 0 nor 1, nor missing where labels may be.
    """
    if data.name == SYNTHETIC:
        store = ensure_synthetic(synthetic_settings(data), scenario, root, verify=data.verify)
        store.check_labels()
        return store
    store = open_store(data, root, scenario)
    _check_rows(store.path, store.version, data.verify)
    return store


def shares_users(store: ScenarioStore) -> bool:
    """Whether a user has the same number in all scenarios of the store's data set.

    Prepared users are hashes of what the table says, alike in all scenarios; made-up users are numbered in each.
    """
    return SYNTHETIC not in store.extra


def synthetic_settings(data: DataSettings) -> SyntheticSettings:
    """Return the checked settings of the made-up scenarios."""
    return parse(SyntheticSettings, data.synthetic, "data.synthetic")


def _stores(data: DataSettings, root: Path) -> list[ScenarioStore]:
    safe_folder(root, data.name)
    return list_scenarios(root, data.name) or _nothing_prepared(data, root)


def _nothing_prepared(data: DataSettings, root: Path) -> NoReturn:
    raise not_prepared(root, data.name)  # without the names of others, as the message may leave the site


def _sizes(stores: list[ScenarioStore]) -> dict[str, int]:
    return {store.scenario: len(store.splits["train"]) for store in stores}


@lru_cache(maxsize=64)
def _opened(path: Path, version: str) -> ScenarioStore:  # noqa: ARG001
    """Keep a simulation's stores open: a version never changes once it is written, and a newer one has another name."""
    return ScenarioStore.open(path)


@lru_cache(maxsize=1024)
def _check_rows(path: Path, version: str, verify: bool) -> None:
    store = _opened(path, version)
    if verify:
        store.verify()
    store.check_labels()


def require_known(names: tuple[str, ...] | list[str], known: list[str], where: str) -> None:
    """Check that scenarios are among the known ones.

    Raises
    ------
    UserError
        One is not; the message names it, the place and the known ones.
    """
    if missing := sorted(set(names) - set(known)):
        raise UserError(f"scenario {', '.join(missing)} is not in {where}, which has {', '.join(sorted(known))}")
