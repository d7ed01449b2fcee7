"""The start of a run: who hosts which scenario, and whether all of them fit together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.fitting import unfit_scenarios
from pfmsmtrec_flwr.federation.registered_sizes import odd_sizes
from pfmsmtrec_flwr.federation.roll_call import NodeAnswer, RollCall, claims_in, contested
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.description import Description

_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Federation:
    """The scenarios that take part, and their nodes.

    Attributes
    ----------
    scenarios
        Descriptions by name, in the order of the names.
    hosts
        Node of each scenario.
    absent
        Reason by name why a scenario that should take part does not.
    """

    scenarios: Mapping[str, Description]
    hosts: Mapping[str, int]
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """All scenarios that should take part, absent ones included."""
        return {*self.scenarios, *self.absent}

    def train_rows(self) -> dict[str, int]:
        """Return the number of training rows of each scenario."""
        return {name: description.examples["train"] for name, description in self.scenarios.items()}

    def nodes(self) -> dict[int, list[str]]:
        """Return the scenarios of each node, nodes in the order of their first scenario's name."""
        nodes: dict[int, list[str]] = {}
        for scenario in self.scenarios:
            nodes.setdefault(self.hosts[scenario], []).append(scenario)
        return nodes


class _Look:
    """What is known of the scenarios after a look at the nodes."""

    def __init__(self, hosted: Mapping[int, NodeAnswer], expected: Sequence[str]) -> None:
        self.hosted, self.expected = hosted, expected
        self.hosting = claims_in(hosted)
        claims = {name: nodes for name, nodes in self.hosting.items() if not expected or name in expected}
        self.disputes = contested(claims)
        self.hosts = {name: min(nodes) for name, nodes in claims.items() if name not in self.disputes}
        self.failed = {name: reason for answer in hosted.values() for name, reason in answer.failed.items()}
        self.refusals = [answer.refusal for answer in hosted.values() if answer.refusal]
        self.simulated = any(answer.partitions for answer in hosted.values())
        self.all_nodes = all(answer.partitions <= len(hosted) for answer in hosted.values())
        # Deployed, other nodes may come for what a node cannot open.
        self.wanted = set(expected) or {*claims, *(self.failed if self.simulated else ())}
        self.missing = self.wanted - self.hosts.keys()

    @property
    def complete(self) -> bool:
        """Whether nobody is left to wait for."""
        unsure = self.simulated and bool(self.refusals) and not self.expected  # a node's scenarios are not known
        return bool(self.hosts) and self.all_nodes and not self.missing and not unsure


def shake_hands(roll: RollCall, config: RunConfig, expected: Sequence[str]) -> Federation:
    """Ask every node what it hosts, until all expected scenarios are there.

    Where an expected one is missing when the time is over, the others go on without it if they are
    `federation.min_scenarios`. The nodes of a simulation are all known, so there is nothing to wait for.

    A scenario that several nodes host counts as missing, whichever of them came first: the server cannot know which is
    right. One of them may go offline before the time is over, as the former id of a node that was started again does.

    Parameters
    ----------
    roll
        Roll of the run's nodes.
    config
        Configuration of the run.
    expected
        Scenarios to wait for. If it is empty, those that are hosted take part as soon as there is one.

    Raises
    ------
    UserError
        Too few of the scenarios are hosted in time, by one node each, or they do not fit together.
    """
    settings = config.federation
    deadline = time.monotonic() + settings.node_timeout
    while True:
        look = _Look(roll.call(max(1.0, deadline - time.monotonic())), expected)
        if look.complete:
            if not expected and not look.simulated:
                logger.warning("federation.scenarios names none: going on with those that are hosted by now")
            return _federation(look, config)
        over = time.monotonic() >= deadline
        if over or (look.simulated and look.all_nodes):
            there = len(look.wanted) - len(look.missing)
            if 0 < min(settings.min_scenarios, len(look.wanted)) <= there:
                return _federation(look, config)
            raise UserError(_too_few(look, roll, settings.node_timeout, over=over))
        for reason in look.disputes.values():
            roll.warn(f"{reason}; waiting for one of them to go")
        time.sleep(min(_RETRY_SECONDS, max(0.0, deadline - time.monotonic())))


def _federation(look: _Look, config: RunConfig) -> Federation:
    quorum = config.federation.min_scenarios
    described = [look.hosting[name][node] for name, node in sorted(look.hosts.items())]
    unfit = odd_sizes(described, config.model) | unfit_scenarios(described)
    fitting = {each.scenario: each for each in described if each.scenario not in unfit}
    if unfit and not 0 < quorum <= len(fitting):
        raise UserError(next(iter(unfit.values())))
    reasons = look.failed | look.disputes | unfit
    should = set(look.expected) or {*look.hosts, *reasons}
    absent = {name: reasons.get(name, "it is hosted by no node") for name in sorted(should - fitting.keys())}
    for name, reason in absent.items():
        logger.warning("scenario %s takes no part: %s", name, reason)
    return Federation(fitting, {name: look.hosts[name] for name in fitting}, absent)


def _too_few(look: _Look, roll: RollCall, seconds: float, *, over: bool) -> str:
    """Return why a run cannot begin, in one line."""
    disputes, reasons = list(look.disputes.values()), [*look.refusals, *look.failed.values()]
    if disputes and not look.missing - look.disputes.keys():
        return disputes[0]
    if not over and reasons:
        return reasons[0]
    reasons = disputes + reasons
    because = f"; left out: {'; '.join(reasons)}" if reasons else ""
    because += f"; a node failed: {roll.problem}" if roll.problem else ""
    return _missing(look, len(roll.online()), seconds) + because


def _missing(look: _Look, nodes: int, seconds: float) -> str:
    missing = sorted(look.missing - look.disputes.keys()) if look.expected else []
    nobody = "not every node has answered" if look.hosting else "no node hosts any scenario"
    what = f"scenario {', '.join(missing)} is hosted by no node" if missing else nobody
    hosting = ", ".join(sorted(look.hosting)) or "nothing"
    return (
        f"{what} after {seconds:g} s ({nodes} nodes online, hosting {hosting}): "
        "start the missing nodes, or name the scenarios that take part in federation.scenarios"
    )
