"""Flower's Grid, asked for replies at shorter intervals than its own; it carries small arrays in parcels.

Its own interval is three seconds in a deployment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from copy import copy

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from pfmsmtrec_flwr.federation.parcels import Made, in_parcels, out_of_parcels
from pfmsmtrec_flwr.flower_internals import FlowerNode, FlowerRun

SHORTEST_WAIT = 0.05
LONGEST_WAIT = 0.5
"""Seconds between two questions for replies: the wait doubles from the shortest to the longest."""


class PromptGrid(Grid):
    """Grid that passes everything on to another one, small arrays `in_parcels`, and waits for replies itself.

    Parameters
    ----------
    grid
        Grid of Flower's engine.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def set_run(self, run: FlowerRun) -> None:
        """Set the run that messages belong to."""
        self._grid.set_run(run)

    @property
    def run(self) -> FlowerRun:
        """The run that messages belong to."""
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message, as the other grid makes it."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Return the nodes' ids."""
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[FlowerNode]:
        """Return what is known of the nodes."""
        return self._grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages with their small arrays in parcels; return their numbers."""
        made: Made = {}
        return self._grid.push_messages(
            [_with_content(message, in_parcels(message.content, made)) for message in messages]
        )

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there."""
        replies = list(self._grid.pull_messages(message_ids))
        for reply in replies:
            if reply.has_content():
                reply.content = out_of_parcels(reply.content)
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages, and return the replies that come within some seconds; None stands for no limit."""
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting = set(self.push_messages(messages))
        replies: list[Message] = []
        wait = SHORTEST_WAIT
        while waiting:
            came = list(self.pull_messages(waiting))
            replies += came
            waiting -= {message.metadata.reply_to_message_id for message in came}
            left = LONGEST_WAIT if deadline is None else deadline - time.monotonic()
            if not waiting or left <= 0:
                break
            time.sleep(min(wait, left))
            wait = min(2 * wait, LONGEST_WAIT)
        return replies


def _with_content(message: Message, content: RecordDict) -> Message:
    """Return a message with the same metadata and another content."""
    other = copy(message)
    other.content = content
    return other
