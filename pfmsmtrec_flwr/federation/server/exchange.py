"""One exchange: a message to every node, and the replies that come before the deadline."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping, Sequence

from flwr.app import Array, Message, RecordDict
from flwr.serverapp import Grid

from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import (
    TRAIN,
    Incoming,
    Order,
    pack_orders,
    payload_bytes,
    scenarios_with_changed_rows,
    scenarios_without_tables,
    unpack_orders,
)
from pfmsmtrec_flwr.federation.server.parameters import Parameters
from pfmsmtrec_flwr.federation.server.stale_rows import StaleRows
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.records import RoundRecord


def messages_to_nodes(
    federation: Federation,
    kind: str,
    order: Order,
    parameters: Incoming,
    only: Container[str] | None = None,
    stale: StaleRows | None = None,
) -> list[Message]:
    """Return a message for each node, with fresh records of its scenarios' parameters; equal arrays are held once.

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
    stale
        Rows that bring the scenarios' tables up to date; None: whole tables.
    """
    messages = []
    packed: dict[str, Array] = {}
    for node, hosted in federation.nodes().items():
        names = [name for name in hosted if only is None or name in only]
        if not names:
            continue
        personal = {name: parameters.personal[name] for name in names if name in parameters.personal}
        incoming = Incoming(parameters.common, personal)
        if stale is not None:
            incoming = stale.shorten(incoming, names)
        messages.append(Message(pack_orders(order, incoming, names, packed), node, kind, group_id=str(order.round)))
    return messages


def exchange(
    grid: Grid, messages: Sequence[Message], timeout: float, record: RoundRecord, parameters: Parameters
) -> list[Message]:
    """Send the messages, wait for the replies, and add traffic, updates and waiting time to a round's record.

    Scenarios that lack the tables to which changed rows belong are sent whole tables at once.

    Parameters
    ----------
    grid
        Grid that carries the messages.
    messages
        Messages to the nodes.
    timeout
        Seconds to wait for the replies.
    record
        Record of the round.
    parameters
        Parameters from which the messages were made.
    """
    replies = _send(grid, messages, timeout, record)
    record.releases += any(_asks_for_update(message) for message in messages[:1])
    lacking = _lacking(messages, replies)
    if not lacking:
        return replies
    logger.warning("%s: no copy of the tables that changed, sending them whole", ", ".join(sorted(lacking)))
    return replies + _send(grid, _with_whole_tables(messages, parameters, lacking), timeout, record)


def messages_for(messages: Sequence[Message], hosts: Mapping[str, int]) -> list[Message]:
    """Return messages once more, for some of their scenarios alone, to the nodes that host these now."""
    repeated = []
    for message in messages:
        order, incoming, names = unpack_orders(message.content)
        for node in dict.fromkeys(hosts[name] for name in names if name in hosts):
            wanted = [name for name in names if hosts.get(name) == node]
            repeated.append(_instead_of(message, pack_orders(order, incoming, wanted), node))
    return repeated


def _asks_for_update(message: Message) -> bool:
    order = Order.unpack(message.content.config_records["order"])
    return message.metadata.message_type == TRAIN and bool(order.parts)


def _send(grid: Grid, messages: Sequence[Message], timeout: float, record: RoundRecord) -> list[Message]:
    started = time.perf_counter()
    record.down_bytes += sum(payload_bytes(message.content) for message in messages)
    replies = list(grid.send_and_receive(messages, timeout=timeout))
    record.up_bytes += sum(payload_bytes(reply.content) for reply in replies if reply.has_content())
    record.train_seconds += time.perf_counter() - started
    return replies


def _lacking(messages: Sequence[Message], replies: Iterable[Message]) -> set[str]:
    """Return the scenarios that were sent changed rows and say, from the node that was asked, that they lack tables."""
    shortened: dict[int, set[str]] = {}
    for message in messages:
        names = scenarios_with_changed_rows(message.content)
        shortened.setdefault(message.metadata.dst_node_id, set()).update(names)
    lacking: set[str] = set()
    for reply in replies:
        if reply.has_content():
            lacking |= shortened.get(reply.metadata.src_node_id, set()) & set(scenarios_without_tables(reply.content))
    return lacking


def _with_whole_tables(messages: Sequence[Message], parameters: Parameters, lacking: Container[str]) -> list[Message]:
    """Return the messages to scenarios that lack tables once more, with whole tables in place of changed rows."""
    repeated = []
    for message in messages:
        order, sent, scenarios = unpack_orders(message.content)
        names = [name for name in scenarios if name in lacking]
        if not names:
            continue
        common = sent.common | {table: parameters.common[table] for table in sent.common_changes}
        personal = {}
        for name in names:
            own = parameters.personal.get(name, {})
            personal[name] = sent.personal[name] | {table: own[table] for table in sent.personal_changes[name]}
        whole = Incoming(common, personal)
        if order.copies:  # in low precision
            whole = whole.halved()
        repeated.append(_instead_of(message, pack_orders(order, whole, names), message.metadata.dst_node_id))
    return repeated


def _instead_of(message: Message, content: RecordDict, node: int) -> Message:
    """Return a message of the same kind and round with another content."""
    return Message(content, node, message.metadata.message_type, group_id=message.metadata.group_id)
