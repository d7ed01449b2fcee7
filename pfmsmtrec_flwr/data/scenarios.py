"""Scenarios of a data set: their names and sizes below a folder, and their opened stores."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pfmsmtrec_flwr.config import DataSettings, RunConfig
from pfmsmtrec_flwr.data.store.listing import list_scenarios
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
        Nothing is prepared there, or a participating scenario is missing.
    """
    sizes = known_scenarios(config.data, root)
    if not config.federation.scenarios:
        return sizes
    require_known(config.federation.scenarios, list(sizes), "this data set")
    return {name: sizes[name] for name in config.federation.scenarios}


def known_scenarios(data: DataSettings, root: Path) -> dict[str, int]:
    """Return the number of training rows of each scenario of a data set below ``root``, by name.

    Raises
    ------
    UserError
        Nothing is prepared there.
    """
    if data.name == SYNTHETIC:
        return dict(synthetic_settings(data).train_rows)
    safe_folder(root, data.name)  # the name comes with the server's configuration
    stores = list_scenarios(root, data.name)
    if not stores:
        raise UserError(
            f"no prepared data of '{data.name}' in {root}: run `pfmsmtrec prepare {data.name} --source DIR`, "
            "or give its folder with --data"
        )
    return {store.scenario: len(store.splits["train"]) for store in stores}


def open_store(data: DataSettings, root: Path, scenario: str) -> ScenarioStore:
    """Open a scenario's prepared store below ``root``; made-up rows are made first."""
    if data.name == SYNTHETIC:
        return ensure_synthetic(synthetic_settings(data), scenario, root)
    path = safe_folder(root, data.name, scenario)
    return _opened(path, current_version(path))


def shares_users(store: ScenarioStore) -> bool:
    """Whether a user has the same number in all scenarios of the store's data set.

    Prepared users are hashes of what the table says, alike in all scenarios; made-up users are numbered in each.
    """
    return SYNTHETIC not in store.extra


def synthetic_settings(data: DataSettings) -> SyntheticSettings:
    """Return the checked settings of the made-up scenarios."""
    return parse(SyntheticSettings, data.synthetic, "data.synthetic")


@lru_cache(maxsize=64)
def _opened(path: Path, version: str) -> ScenarioStore:  # noqa: ARG001
    """Keep a simulation's stores open: a version never changes once it is written, and a newer one has another name."""
    return ScenarioStore.open(path)


def require_known(names: tuple[str, ...] | list[str], known: list[str], where: str) -> None:
    """Check that scenarios are among the known ones.

    Raises
    ------
    UserError
        One is not; the message names it, the place and the known ones.
    """
    if missing := sorted(set(names) - set(known)):
        raise UserError(f"scenario {', '.join(missing)} is not in {where}, which has {', '.join(sorted(known))}")
