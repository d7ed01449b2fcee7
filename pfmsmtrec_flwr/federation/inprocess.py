"""Flower's Grid over direct calls of the ClientApp in this process: for tests, comparisons and benchmarks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from pfmsmtrec_flwr.log import logger

_CLIENT_RAISED = 2  # Flower's code of a ClientApp that raised
_SERVER_NODE = 1


class InProcessGrid(Grid):
    """Carries messages to a ClientApp by calling it, one node after the other.

    Parameters
    ----------
    app
        The very ClientApp that Flower's engines call.
    contexts
        A context per node, by node id, as `simulated_contexts` makes them.
    """

    def __init__(self, app: ClientApp, contexts: Mapping[int, Context]) -> None:
        self._app = app
        self._contexts = dict(contexts)
        self._run = Run.create_empty(next(iter(self._contexts.values())).run_id)
        self._replies: dict[str, Message] = {}
        self._numbers = itertools.count(1)

    def set_run(self, run: Run) -> None:
        """Set the run that messages belong to."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Create a message; the same as Flower's constructor."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return the nodes' ids."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Call the ClientApp on each message; the replies wait to be pulled."""
        numbers = []
        for message in messages:
            number = str(next(self._numbers))
            message.metadata.__dict__["_message_id"] = number
            self._replies[number] = self._call(message)
            numbers.append(number)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies to the given messages, each once."""
        return [self._replies.pop(number) for number in message_ids if number in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:  # noqa: ARG002
        """Push the messages and return all replies; a call in process has no time limit."""
        return self.pull_messages(self.push_messages(messages))

    def _call(self, message: Message) -> Message:
        try:
            return self._app(message, self._contexts[message.metadata.dst_node_id])
        except Exception as error:  # as Flower's engines do: a client that raises answers with an error
            logger.exception("node %d raised", message.metadata.dst_node_id)
            return Message(Error(_CLIENT_RAISED, f"{type(error).__name__}: {error}"), reply_to=message)


def simulated_contexts(run_id: int, nodes: int, run_config: Mapping[str, str | int]) -> dict[int, Context]:
    """Return the contexts of a simulation's nodes, as Flower's engine gives them."""
    return {
        node: Context(
            run_id=run_id,
            node_id=node,
            node_config={"partition-id": node - 1, "num-partitions": nodes},
            state=RecordDict(),
            run_config=dict(run_config),
        )
        for node in range(1, nodes + 1)
    }


@contextmanager
def run_identity(run_id: int) -> Iterator[None]:
    """Let messages be made in this process, as Flower's server process does before it calls a ServerApp."""
    before = (TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run_id, _SERVER_NODE
    try:
        yield
    finally:
        TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id = before
