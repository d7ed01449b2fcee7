"""Flower's Grid over direct calls of the ClientApp in this process: for tests, comparisons and benchmarks."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from importlib.util import module_from_spec, spec_from_file_location

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from pfmsmtrec_flwr.flower_internals import CLIENT_RAISED, FlowerRun, empty_run, number_message, run_identity
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.places import top_folder

__all__ = ["InProcessGrid", "own_client_app", "run_identity", "simulated_contexts"]


@functools.cache
def own_client_app() -> ClientApp:
    """Return the ClientApp of this project's `client_app.py`, whatever other file of that name can be imported."""
    spec = spec_from_file_location("pfmsmtrec_client_app", top_folder() / "client_app.py")
    assert spec is not None and spec.loader is not None  # the file's name ends in .py
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    app: ClientApp = module.app
    return app


class InProcessGrid(Grid):
    """Grid that carries messages to a ClientApp by calling it, one node after the other.

    Parameters
    ----------
    app
        ClientApp that Flower's engines call as well.
    contexts
        Context of each node by the node's id, such as `simulated_contexts` makes.
    """

    def __init__(self, app: ClientApp, contexts: Mapping[int, Context]) -> None:
        self._app = app
        self._contexts = dict(contexts)
        self._run = empty_run(next(iter(self._contexts.values())).run_id)
        self._replies: dict[str, Message] = {}
        self._numbers = itertools.count(1)

    def set_run(self, run: FlowerRun) -> None:
        """Set the run that messages belong to."""
        self._run = run

    @property
    def run(self) -> FlowerRun:
        """The run that messages belong to."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message, as Flower's constructor makes it."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return the nodes' ids."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Call the ClientApp on each message; the replies wait to be pulled."""
        numbers = []
        for message in messages:
            number = str(next(self._numbers))
            number_message(message, number)
            self._replies[number] = self._call(message)
            numbers.append(number)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies to messages that were pushed, each once."""
        return [self._replies.pop(number) for number in message_ids if number in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:  # noqa: ARG002
        """Push the messages and return all replies; a call in process has no time limit."""
        return self.pull_messages(self.push_messages(messages))

    def _call(self, message: Message) -> Message:
        try:
            return self._app(message, self._contexts[message.metadata.dst_node_id])
        except Exception as error:  # as Flower's engines do: a client that raises answers with an error
            logger.exception("node %d raised", message.metadata.dst_node_id)
            return Message(Error(CLIENT_RAISED, f"{type(error).__name__}: {error}"), reply_to=message)


def simulated_contexts(run_id: int, nodes: int, run_config: Mapping[str, str | int]) -> dict[int, Context]:
    """Return the contexts of a simulation's nodes, as Flower's engine makes them."""
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
