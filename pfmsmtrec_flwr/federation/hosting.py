"""The scenarios that a node hosts."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import Context

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.rules import refuse_other_rules, rules_of
from pfmsmtrec_flwr.data.scenarios import (
    chosen_scenarios,
    open_checked_store,
    open_store,
    require_known,
    scenario_names,
)
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.limits import enforce_limits
from pfmsmtrec_flwr.federation.locations import data_root, is_simulated


def hosted_scenarios(config: RunConfig, context: Context) -> list[str]:
    """Return the names of the scenarios that this node hosts in this run.

    A deployed node declares them, ``--node-config 'scenarios="NL,ES"'``, or hosts all that are prepared in its data
    folder. None is opened here, so a damaged one does not keep the others away. In a simulation scenario *i* of those
    sorted from largest to smallest lives on partition *i* modulo the number of partitions.
    """
    if not is_simulated(context):
        return _declared(config, context)
    sizes = chosen_scenarios(config, data_root(context))
    ordered = sorted(sizes, key=lambda name: (-sizes[name], name))
    partition, partitions = int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
    return sorted(ordered[partition::partitions])


def open_scenario(config: RunConfig, context: Context, scenario: str) -> ScenarioStore:
    """Open a scenario's prepared store on its node; made-up rows are made first.

    Raises
    ------
    UserError
        The configuration asks for more than the site's limits give, or there is no such store.
    """
    enforce_limits(context, config)
    return open_store(config.data, data_root(context), scenario)


def open_hosted_scenario(config: RunConfig, context: Context, scenario: str) -> ScenarioStore:
    """Open the store of a hosted scenario at the start of a run, which checks its rows.

    Raises
    ------
    UserError
        The scenario is not in the node's data folder, its rows are damaged, or the configuration asks for more than the
        site's limits give.
    """
    enforce_limits(context, config)
    root = data_root(context)
    require_known([scenario], scenario_names(config.data, root), f"{root}")
    return open_checked_store(config.data, root, scenario)


def refuse_unlike(config: RunConfig, stores: Sequence[ScenarioStore]) -> None:
    """Refuse hosted scenarios that were prepared under different rules.

    Raises
    ------
    UserError
        Two of them were.
    """
    refuse_other_rules(config.data.name, {store.scenario: rules_of(store) for store in stores})


def _declared(config: RunConfig, context: Context) -> list[str]:
    declared = str(context.node_config.get("scenarios", ""))
    names = {name.strip() for name in declared.split(",") if name.strip()}
    if not declared:
        names = set(scenario_names(config.data, data_root(context)))
    wanted = config.federation.scenarios
    return sorted(name for name in names if not wanted or name in wanted)
