"""The start of a run: who hosts which scenario, and whether all of them fit together."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

import pfmsmtrec_flwr
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import HELLO, Order
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.description import Description
from pfmsmtrec_flwr.validation import parse

_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """Answer of a node."""

    scenarios: Sequence[Description]
    partitions: int  # nodes of a simulation; 0 for a deployed node, which does not know how many there are


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
        A scenario is hosted twice, or by nobody in time; a node reports an error, runs another version, or has data of
        another schema or with another split rule.
    """
    deadline = time.monotonic() + config.federation.node_timeout
    order = Order(config.model_dump_json(), config.method, round=0, exchange=0)
    asked: dict[int, _Answer] = {}
    problem = ""
    while True:
        online = list(grid.get_node_ids())
        if new := sorted(set(online) - asked.keys()):
            left = max(1.0, deadline - time.monotonic())
            answers, problem = _ask(grid, order, new, left)
            asked |= answers
        hosted = {node: asked[node] for node in online if node in asked}
        names = [description.scenario for answer in hosted.values() for description in answer.scenarios]
        all_there = all(answer.partitions <= len(hosted) for answer in hosted.values())
        if names and all_there and not set(expected) - set(names):
            if not expected and not any(answer.partitions for answer in hosted.values()):
                logger.warning("federation.scenarios names none: going on with those that are hosted by now")
            return _federation(hosted, expected)
        if time.monotonic() >= deadline:
            because = f"; a node failed: {problem}" if problem else ""
            raise UserError(_missing(expected, names, len(online), config.federation.node_timeout) + because)
        time.sleep(min(_RETRY_SECONDS, max(0.0, deadline - time.monotonic())))


def _ask(grid: Grid, order: Order, nodes: Sequence[int], timeout: float) -> tuple[dict[int, _Answer], str]:
    """Return the answers of the nodes, and the reason why one of them did not answer, if any."""
    messages = [Message(RecordDict({"order": order.pack()}), node, HELLO) for node in nodes]
    answers = {}
    problem = ""
    for reply in grid.send_and_receive(messages, timeout=timeout):
        if reply.has_error():
            problem = reply.error.reason or f"error {reply.error.code}"
            logger.warning("a node did not answer the handshake: %s", problem)
            continue
        answers[reply.metadata.src_node_id] = _read(reply)
    return answers, problem


def _read(reply: Message) -> _Answer:
    document = json.loads(str(reply.content.config_records["hello"]["hello"]))
    node = f"node {reply.metadata.src_node_id}"
    if document["error"]:
        raise UserError(f"{node}: {document['error']}")
    if document["version"] != pfmsmtrec_flwr.__version__:
        raise UserError(
            f"{node} runs pfmsmtrec-flwr {document['version']}, the server {pfmsmtrec_flwr.__version__}: "
            "install the same"
        )
    described = [parse(Description, description, node) for description in document["scenarios"]]
    return _Answer(described, int(document["partitions"]))


def _federation(hosted: Mapping[int, _Answer], expected: Sequence[str]) -> Federation:
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
    _check_alike([scenarios[name] for name in sorted(scenarios)])
    return Federation({name: scenarios[name] for name in sorted(scenarios)}, hosts)


def _check_alike(descriptions: Sequence[Description]) -> None:
    first = descriptions[0]
    for other in descriptions[1:]:
        if other.schema_hash != first.schema_hash:
            raise UserError(
                f"scenarios {first.scenario} and {other.scenario} were prepared with different schemas "
                f"({first.schema_hash[:8]} of {first.dataset}, {other.schema_hash[:8]} of {other.dataset}): "
                "prepare both with the same datasets/*.yaml and version"
            )
    ruled = [description for description in descriptions if description.split_rule]
    for other in ruled[1:]:
        if other.split_rule != ruled[0].split_rule:
            raise UserError(
                f"scenarios {ruled[0].scenario} and {other.scenario} were prepared under different split rules "
                f"({ruled[0].scenario}: {ruled[0].split_rule}; {other.scenario}: {other.split_rule}): "
                f"agree on one, and prepare again, `pfmsmtrec prepare {other.dataset} --source DIR`"
            )
    for description in descriptions:
        if empty := sorted(split for split, rows in description.examples.items() if rows == 0):
            raise UserError(
                f"scenario {description.scenario} has no rows for {', '.join(empty)}: "
                "leave it out of federation.scenarios, or prepare its data with another split"
            )
        counts = zip(description.tasks, description.train_positives, description.labelled_rows("train"), strict=True)
        for task, positives, labelled in counts:
            if not 0 < positives < labelled:
                raise UserError(
                    f"task {task} has one class only in the training rows of scenario {description.scenario} "
                    f"({positives} positives of {labelled}): leave the task or the scenario out"
                )


def _missing(expected: Sequence[str], names: Sequence[str], nodes: int, seconds: float) -> str:
    missing = sorted(set(expected) - set(names))
    what = f"scenario {', '.join(missing)} is hosted by no node" if missing else "no node hosts any scenario"
    hosting = ", ".join(sorted(names)) or "nothing"
    return (
        f"{what} after {seconds:g} s ({nodes} nodes online, hosting {hosting}): "
        "start the missing nodes, or name the scenarios that take part in federation.scenarios"
    )
