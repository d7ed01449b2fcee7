"""One exchange: a message to every node, and the replies that come before the deadline."""

from __future__ import annotations

import time
from collections.abc import Container

from flwr.app import Message
from flwr.serverapp import Grid

from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, pack_orders, payload_bytes
from pfmsmtrec_flwr.training.records import RoundRecord


def messages_to_nodes(
    federation: Federation, kind: str, order: Order, parameters: Incoming, only: Container[str] | None = None
) -> list[Message]:
    """Return a message for each node, with fresh records of its scenarios' parameters.

    Parameters
    ----------
    federation
        Scenarios and their nodes.
    kind
        Message type, which names the client's action.
    order
        Order for every scenario.
    parameters
        Parameters of all scenarios.
    only
        Scenarios that the message is for; None: all.
    """
    messages = []
    for node, hosted in federation.nodes().items():
        names = [name for name in hosted if only is None or name in only]
        if not names:
            continue
        personal = {name: parameters.personal[name] for name in names if name in parameters.personal}
        incoming = Incoming(parameters.common, personal, parameters.consensus)
        messages.append(Message(pack_orders(order, incoming, names), node, kind, group_id=str(order.round)))
    return messages


def exchange(grid: Grid, messages: list[Message], timeout: float, record: RoundRecord) -> list[Message]:
    """Send the messages, wait for the replies, and add traffic and waiting time to a round's record."""
    started = time.perf_counter()
    record.down_bytes += sum(payload_bytes(message.content) for message in messages)
    replies = list(grid.send_and_receive(messages, timeout=timeout))
    record.up_bytes += sum(payload_bytes(reply.content) for reply in replies if reply.has_content())
    record.train_seconds += time.perf_counter() - started
    return replies
