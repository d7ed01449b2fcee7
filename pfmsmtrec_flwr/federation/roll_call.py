"""Nodes that are online, and what each says that it hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.binding import Binding, Doorkeeper
from pfmsmtrec_flwr.federation.hello_document import partitions_of, read_hello
from pfmsmtrec_flwr.federation.protocol import HELLO, Order
from pfmsmtrec_flwr.federation.reasons import failure_reason, readable_reason
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.description import Description


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """Answer of a node.

    Attributes
    ----------
    scenarios
        Descriptions of the scenarios that it hosts.
    partitions
        Nodes of a simulation; 0 for a deployed node, which does not know how many there are.
    failed
        Reason by name why a scenario that it should host cannot take part.
    refusal
        Reason why the whole node is left out; empty if it is not.
    """

    scenarios: Sequence[Description] = ()
    partitions: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""


class RollCall:
    """Roll of a run's nodes, each of which is asked until it has answered once.

    A node that reports an error, runs another version or answers something else is left out, and so is a scenario that
    its node cannot open. Under the server's binding, a node whose key is bound to no scenario is not asked, and one
    that hosts a scenario of another key is left out.

    Parameters
    ----------
    grid
        Grid that carries the messages.
    config
        Configuration of the run.

    Attributes
    ----------
    problem
        Reason why a node reported an error instead of an answer the last time that nodes were asked; empty if none did.

    Raises
    ------
    UserError
        The server's binding cannot be read.
    """

    def __init__(self, grid: Grid, config: RunConfig) -> None:
        self.problem = ""
        self._grid = grid
        self._told: set[str] = set()
        self._door = Doorkeeper(grid, Binding.of_server())
        self._order = Order(config.model_dump_json(), config.method, round=0, exchange=0)
        self._answers: dict[int, NodeAnswer] = {}

    def online(self) -> list[int]:
        """Return the nodes that are online and may take part."""
        return self._door.online()

    def call(self, timeout: float) -> dict[int, NodeAnswer]:
        """Ask the nodes that have not answered yet, and return the answers of all that are online.

        Parameters
        ----------
        timeout
            Seconds to wait. A node that is silent for so long is left out, and not asked again.
        """
        online = self.online()
        if new := sorted(set(online) - self._answers.keys()):
            self._ask(new, timeout)
        return {node: self._answers[node] for node in online if node in self._answers}

    def warn(self, warning: str) -> None:
        """Log a warning, once in a run."""
        if warning not in self._told:
            logger.warning("%s", warning)
            self._told.add(warning)

    def _ask(self, nodes: Sequence[int], timeout: float) -> None:
        messages = [Message(RecordDict({"order": self._order.pack()}), node, HELLO) for node in nodes]
        self.problem = ""
        silent = set(nodes)
        for reply in self._grid.send_and_receive(messages, timeout=timeout):
            silent.discard(reply.metadata.src_node_id)
            if reply.has_content():
                self._note(reply.metadata.src_node_id, _read_or_refuse(reply))
            else:
                self.problem = failure_reason(reply)
                logger.warning("a node did not answer the handshake: %s", self.problem)
        for node in sorted(silent):
            self._note(node, NodeAnswer(refusal=f"node {node} did not answer within {timeout:.0f} s"))

    def _note(self, node: int, answer: NodeAnswer) -> None:
        for reason in filter(None, (answer.refusal, *answer.failed.values())):
            logger.warning("left out: %s", reason)
        refusal = self._door.refusal(node, [description.scenario for description in answer.scenarios])
        self._answers[node] = NodeAnswer(refusal=refusal) if refusal else answer


def claims_in(answers: Mapping[int, NodeAnswer]) -> dict[str, dict[int, Description]]:
    """Return the nodes that host each scenario, by their own account, with their descriptions of it."""
    claims: dict[str, dict[int, Description]] = {}
    for node, answer in answers.items():
        for description in answer.scenarios:
            claims.setdefault(description.scenario, {})[node] = description
    return claims


def contested(claims: Mapping[str, Mapping[int, Description]]) -> dict[str, str]:
    """Return the reason by name why a scenario that several nodes host goes to none of them."""
    return {
        name: f"scenario {name} is hosted by nodes {' and '.join(map(str, sorted(nodes)))}, and nothing "
        "tells which is right: give each node its own with --node-config 'scenarios=\"NAME\"', or bind scenarios to "
        "keys, as `pfmsmtrec deploy init` does"
        for name, nodes in claims.items()
        if len(nodes) > 1
    }


def _read_or_refuse(reply: Message) -> NodeAnswer:
    """Return the answer of a node, or that of a refused one: whatever it has sent, the others go on."""
    try:
        return _read(reply)
    except UserError as error:
        return NodeAnswer(partitions=partitions_of(reply.content), refusal=str(error))


def _read(reply: Message) -> NodeAnswer:
    node = f"node {reply.metadata.src_node_id}"
    document = read_hello(reply.content, node)
    failed = {name: readable_reason(f"{node}: {reason}") for name, reason in document.failed.items()}
    return NodeAnswer(document.scenarios, document.partitions, failed)
