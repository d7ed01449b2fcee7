"""Check of a start from the models of an earlier run, before anything is started."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.scenarios import chosen_scenarios, open_store
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.locations import CLIENTS_NAME
from pfmsmtrec_flwr.methods.base import FederatedMethod, Method
from pfmsmtrec_flwr.methods.configuration import methods_of
from pfmsmtrec_flwr.scoring.earlier_model import EarlierModel
from pfmsmtrec_flwr.scoring.model_folders import scenarios_with_models


def require_starting(methods: Iterable[Method]) -> None:
    """Refuse methods that cannot start from saved models.

    Raises
    ------
    UserError
        The message names the first such method, and the reason.
    """
    for method in methods:
        reason = method.no_start if isinstance(method, FederatedMethod) else "it trains no model at a scenario"
        if reason:
            raise UserError(f"method '{method.name}' does not take --start-from: {reason}")


def check_start(config: RunConfig, data: Path, run: Path) -> list[str]:
    """Check that every method of a run can start from its own models of an earlier run.

    Parameters
    ----------
    config
        Configuration of the run.
    data
        Folder of the prepared data.
    run
        Output folder of the earlier run.

    Returns
    -------
    list
        A line on the scenarios that start from their models, on those that are new and on those that are gone.

    Raises
    ------
    UserError
        A method cannot start from saved models or has none there, or a model does not fit the configuration or the
        prepared data.
    """
    methods = methods_of(config)
    require_starting(methods)
    scenarios = sorted(chosen_scenarios(config, data))
    lines: dict[str, None] = {}
    for method in methods:
        folder = run / CLIENTS_NAME / method.name
        saved = scenarios_with_models(folder)
        known = [name for name in scenarios if name in saved]
        if not known:
            raise UserError(_none_there(method, run, saved))
        own = method.configure(config)
        for name in known:
            EarlierModel.open(folder / name, open_store(own.data, data, name), own.model)
        lines |= dict.fromkeys(_lines(run, known, scenarios, saved))
    return list(lines)


def _none_there(method: Method, run: Path, saved: list[str]) -> str:
    if saved:
        return f"the models of {method.name} in {run} are those of {', '.join(saved)}: none of them takes part"
    there = ", ".join(child.name for child in sorted((run / CLIENTS_NAME).glob("*")) if scenarios_with_models(child))
    found = f"there are models of {there}" if there else "give the output folder of a finished run"
    return f"no model of {method.name} in {run}: {found}"


def _lines(run: Path, known: list[str], scenarios: list[str], saved: list[str]) -> list[str]:
    lines = [f"{', '.join(known)}: start from their models in {run}"]
    if new := [name for name in scenarios if name not in saved]:
        lines.append(f"{', '.join(new)}: new, shared parts start from the consensus of {', '.join(known)}")
    if gone := [name for name in saved if name not in scenarios]:
        lines.append(f"{', '.join(gone)}: in {run}, takes no part now")
    return lines
