from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from federated import Tiny
from flwr.app import ConfigRecord, Error, Message
from replies import TABLE, ask, moved, strategy_of

from pfmsmtrec_flwr.federation.inprocess import InProcessGrid
from pfmsmtrec_flwr.federation.protocol import TRAIN, Incoming, Order, payload_bytes, unpack_orders
from pfmsmtrec_flwr.federation.server.exchange import exchange, messages_to_nodes
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.training.records import RoundRecord

pytestmark = pytest.mark.usefixtures("flower_run")


def test_every_message_has_records_of_its_own(tiny: Tiny) -> None:
    messages = ask(strategy_of(tiny.config(pf_msmtrec__gates="federated")))
    assert [message.metadata.dst_node_id for message in messages] == [11, 12]
    assert all(message.metadata.message_type == TRAIN for message in messages)
    assert [unpack_orders(message.content)[2] for message in messages] == [["A", "C"], ["B"]]
    first, second = (message.content for message in messages)
    assert first is not second
    assert not {id(record) for record in first.values()} & {id(record) for record in second.values()}
    first["common"].clear()
    assert second["common"]


def test_equal_arrays_of_several_messages_take_memory_once(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(model__embedding_dim=8))
    records = [message.content.array_records for message in ask(strategy)]
    a, b, c = (records[number][f"{name}/parameters"] for number, name in ((0, "A"), (1, "B"), (0, "C")))
    assert a[TABLE].data is b[TABLE].data is c[TABLE].data
    strategy.parameters.personal["B"][TABLE] = torch.ones(5, 8)
    a, b = (
        message.content.array_records[key]
        for message, key in zip(ask(strategy), ("A/parameters", "B/parameters"), strict=True)
    )
    assert (b[TABLE].numpy() == 1).all()
    assert not (a[TABLE].numpy() == 1).any()


class Answering(InProcessGrid):
    """Answers each message with hand-made replies, and fails on one node."""

    def __init__(self, strategy: ScenarioStrategy, failing: int) -> None:
        self.strategy, self.failing, self.timeout = strategy, failing, 0.0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        self.timeout = timeout or 0.0
        return [
            Message(Error(8, "the process died"), reply_to=message)
            if message.metadata.dst_node_id == self.failing
            else moved(self.strategy, message)
            for message in messages
        ]


def test_an_exchange_counts_the_bytes_of_both_ways_and_a_failed_node_sends_none(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config())
    messages, record = ask(strategy), RoundRecord(1, up_bytes=1, down_bytes=1)
    grid = Answering(strategy, failing=12)
    first, second = exchange(grid, messages, 7.0, record, strategy.parameters)
    assert grid.timeout == 7.0
    assert second.has_error()
    assert record.up_bytes == 1 + payload_bytes(first.content) > 1
    assert record.down_bytes == 1 + sum(payload_bytes(message.content) for message in messages)
    assert record.train_seconds > 0


def test_messages_may_be_for_some_scenarios_only(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config())
    incoming = Incoming({}, {name: dict(own) for name, own in strategy.parameters.personal.items()})
    order = Order("{}", "pf-msmtrec", 1, 1)
    (message,) = messages_to_nodes(strategy.federation, TRAIN, order, incoming, only={"C"})
    assert message.metadata.dst_node_id == 11
    assert unpack_orders(message.content)[2] == ["C"]
    assert list(message.content.array_records) == ["C/parameters"]


class Claiming(Answering):
    """Answers as `Answering` does; node 12 says that a scenario lacks tables which it was not sent in part."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        replies = super().send_and_receive(messages, timeout=timeout)
        self.sent = [*getattr(self, "sent", []), *messages]
        for reply in replies:
            if reply.metadata.src_node_id == 12:
                reply.content["A/reply"] = ConfigRecord({"reply": "{}", "lacks_tables": True})
                reply.content.config_records["B/reply"]["lacks_tables"] = "yes"
        return replies


def test_only_scenarios_that_were_sent_changed_rows_can_lack_the_tables(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg-rows", model__embedding_dim=8))
    for number in (1, 2):  # whole tables, then changed rows
        messages = ask(strategy, number)
        grid = Claiming(strategy, failing=0)
        replies = exchange(grid, messages, 7.0, RoundRecord(number), strategy.parameters)
        assert len(replies) == len(grid.sent) == 2
        if number == 1:
            strategy.aggregate_train(1, [moved(strategy, message) for message in messages])
