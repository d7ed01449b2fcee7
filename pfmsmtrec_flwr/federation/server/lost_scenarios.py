"""Scenarios whose node is gone, looked for among the nodes that have come since."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pfmsmtrec_flwr.federation.roll_call import RollCall, claims_in, contested
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.description import Description

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy


def find_lost(strategy: ScenarioStrategy, silent: Collection[str]) -> set[str]:
    """Give scenarios whose node is no longer online to other nodes that host them now.

    A SuperNode without a key has another id after a restart. Nodes that have not answered yet are asked what they host,
    under the rules of the handshake, and one that describes a lost scenario as it was described at the start takes it
    over. The scenario comes back as any other does that has missed exchanges. Where nobody is silent, nothing is asked.

    Parameters
    ----------
    strategy
        Strategy of the run, whose federation is replaced by one with the new nodes.
    silent
        Scenarios that take part and have sent no reply that counts.

    Returns
    -------
    set of str
        Those of the silent scenarios that still have no node online.
    """
    roll, federation = strategy.roll, strategy.federation
    if roll is None or not silent:
        return set()
    online = set(roll.online())
    lost = {name for name in silent if federation.hosts[name] not in online}
    if not lost:
        return lost
    claims = claims_in(roll.call(strategy.config.federation.node_timeout))
    known = {name: _alike(roll, nodes, federation.scenarios[name]) for name, nodes in claims.items() if name in lost}
    disputes = contested(known)
    for reason in disputes.values():
        roll.warn(reason)
    found = {name: node for name, nodes in known.items() if name not in disputes for node in nodes}
    for name, node in sorted(found.items()):
        logger.info("scenario %s is hosted by node %d now", name, node)
    strategy.federation = replace(federation, hosts={**federation.hosts, **found})
    return lost - found.keys()


def _alike(roll: RollCall, nodes: Mapping[int, Description], registered: Description) -> dict[int, Description]:
    """Return the nodes that describe a scenario as it was registered; the others are named in the log."""
    before = registered.model_dump()
    alike = {}
    for node, description in nodes.items():
        if other := [key for key, value in description.model_dump().items() if value != before[key]]:
            roll.warn(
                f"left out: node {node} hosts scenario {registered.scenario} with another {other[0]} than at the start"
            )
        else:
            alike[node] = description
    return alike
