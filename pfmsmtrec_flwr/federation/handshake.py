"""The start of a run: who hosts which scenario, and whether all of them fit together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.binding import Binding, Doorkeeper
from pfmsmtrec_flwr.federation.fitting import unfit_scenarios
from pfmsmtrec_flwr.federation.hello_document import partitions_of, read_hello
from pfmsmtrec_flwr.federation.protocol import HELLO, Order
from pfmsmtrec_flwr.federation.reasons import failure_reason, readable_reason
from pfmsmtrec_flwr.federation.registered_sizes import odd_sizes
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.description import Description

_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """Answer of a node."""

    scenarios: Sequence[Description] = ()
    partitions: int = 0  # nodes of a simulation; 0 for a deployed node, which does not know how many there are
    failed: Mapping[str, str] = field(default_factory=dict)  # reason by scenario that it should host and cannot
    refusal: str = ""  # reason why the whole node is left out


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


def shake_hands(grid: Grid, config: RunConfig, expected: Sequence[str]) -> Federation:
    """Ask every node what it hosts, until all expected scenarios are there.

    A node that reports an error, runs another version or answers something else is left out, and so is a scenario that
    its node cannot open. Where an expected one is missing when the time is over, the others go on without it if they
    are `federation.min_scenarios`. The nodes of a simulation are all known, so there is nothing to wait for. Under the
    server's binding, a node whose key is bound to no scenario is not asked, and one that hosts a scenario of another
    key is left out.

    Parameters
    ----------
    grid
        Grid that carries the messages.
    config
        Configuration of the run.
    expected
        Scenarios to wait for. If it is empty, those that are hosted take part as soon as there is one.

    Raises
    ------
    UserError
        Too few of the scenarios are hosted in time, one is hosted twice, or they do not fit together; the server's
        binding cannot be read.
    """
    settings = config.federation
    deadline = time.monotonic() + settings.node_timeout
    order = Order(config.model_dump_json(), config.method, round=0, exchange=0)
    asked: dict[int, _Answer] = {}
    problem = ""
    door = Doorkeeper(grid, Binding.of_server())
    while True:
        online = door.online()
        if new := sorted(set(online) - asked.keys()):
            left = max(1.0, deadline - time.monotonic())
            answers, problem = _ask(grid, order, new, left)
            asked |= {node: _checked(door, node, answer) for node, answer in answers.items()}
        hosted = {node: asked[node] for node in online if node in asked}
        names = {description.scenario for answer in hosted.values() for description in answer.scenarios}
        simulated = any(answer.partitions for answer in hosted.values())
        all_there = all(answer.partitions <= len(hosted) for answer in hosted.values())
        wanted = set(expected) or names | _failed(hosted, simulated)
        if names and all_there and not wanted - names and not (simulated and _refusals(hosted) and not expected):
            if not expected and not simulated:
                logger.warning("federation.scenarios names none: going on with those that are hosted by now")
            return _federation(hosted, expected, config)
        over = time.monotonic() >= deadline
        if over or (simulated and all_there):
            if 0 < min(settings.min_scenarios, len(wanted)) <= len(names & wanted):
                return _federation(hosted, expected, config)
            reasons = [*_refusals(hosted), *(reason for answer in hosted.values() for reason in answer.failed.values())]
            if not over and reasons:
                raise UserError(reasons[0])
            because = f"; left out: {'; '.join(reasons)}" if reasons else ""
            because += f"; a node failed: {problem}" if problem else ""
            raise UserError(_missing(expected, sorted(names), len(online), settings.node_timeout) + because)
        time.sleep(min(_RETRY_SECONDS, max(0.0, deadline - time.monotonic())))


def _failed(hosted: Mapping[int, _Answer], simulated: bool) -> set[str]:
    """Return the scenarios of a simulation that should be hosted and cannot; deployed, other nodes may come."""
    return {name for answer in hosted.values() for name in answer.failed} if simulated else set()


def _refusals(hosted: Mapping[int, _Answer]) -> list[str]:
    return [answer.refusal for answer in hosted.values() if answer.refusal]


def _checked(door: Doorkeeper, node: int, answer: _Answer) -> _Answer:
    claimed = [description.scenario for description in answer.scenarios]
    refusal = door.refusal(node, claimed)
    return _Answer(refusal=refusal) if refusal else answer


def _ask(grid: Grid, order: Order, nodes: Sequence[int], timeout: float) -> tuple[dict[int, _Answer], str]:
    """Return the answers of the nodes, and the reason why one of them did not answer, if any."""
    messages = [Message(RecordDict({"order": order.pack()}), node, HELLO) for node in nodes]
    answers = {}
    problem = ""
    for reply in grid.send_and_receive(messages, timeout=timeout):
        if not reply.has_content():
            problem = failure_reason(reply)
            logger.warning("a node did not answer the handshake: %s", problem)
            continue
        answer = _read_or_refuse(reply)
        for reason in filter(None, (answer.refusal, *answer.failed.values())):
            logger.warning("left out: %s", reason)
        answers[reply.metadata.src_node_id] = answer
    return answers, problem


def _read_or_refuse(reply: Message) -> _Answer:
    """Return the answer of a node, or that of a refused one: whatever it has sent, the others go on."""
    try:
        return _read(reply)
    except UserError as error:
        return _Answer(partitions=partitions_of(reply.content), refusal=str(error))


def _read(reply: Message) -> _Answer:
    node = f"node {reply.metadata.src_node_id}"
    document = read_hello(reply.content, node)
    failed = {name: readable_reason(f"{node}: {reason}") for name, reason in document.failed.items()}
    return _Answer(document.scenarios, document.partitions, failed)


def _federation(hosted: Mapping[int, _Answer], expected: Sequence[str], config: RunConfig) -> Federation:
    quorum = config.federation.min_scenarios
    hosts: dict[str, int] = {}
    scenarios: dict[str, Description] = {}
    for node, answer in hosted.items():
        for description in answer.scenarios:
            name = description.scenario
            if expected and name not in expected:
                continue
            if name in hosts:
                raise UserError(
                    f"scenario {name} is hosted by two nodes, {hosts[name]} and {node}: "
                    "give each node its own with --node-config 'scenarios=\"NAME\"'"
                )
            hosts[name], scenarios[name] = node, description
    described = [scenarios[name] for name in sorted(scenarios)]
    unfit = odd_sizes(described, config.model) | unfit_scenarios(described)
    fitting = {name: scenarios[name] for name in sorted(scenarios) if name not in unfit}
    if unfit and not 0 < quorum <= len(fitting):
        raise UserError(next(iter(unfit.values())))
    reasons = {name: reason for answer in hosted.values() for name, reason in answer.failed.items()} | unfit
    should = set(expected) or {*scenarios, *reasons}
    absent = {name: reasons.get(name, "it is hosted by no node") for name in sorted(should - fitting.keys())}
    for name, reason in absent.items():
        logger.warning("scenario %s takes no part: %s", name, reason)
    return Federation(fitting, {name: hosts[name] for name in fitting}, absent)


def _missing(expected: Sequence[str], names: Sequence[str], nodes: int, seconds: float) -> str:
    missing = sorted(set(expected) - set(names))
    nobody = "not every node has answered" if names else "no node hosts any scenario"
    what = f"scenario {', '.join(missing)} is hosted by no node" if missing else nobody
    hosting = ", ".join(sorted(names)) or "nothing"
    return (
        f"{what} after {seconds:g} s ({nodes} nodes online, hosting {hosting}): "
        "start the missing nodes, or name the scenarios that take part in federation.scenarios"
    )
