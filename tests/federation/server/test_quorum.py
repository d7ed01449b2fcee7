from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from federated import Tiny
from flwr.app import Error, Message
from replies import ask, moved, strategy_of

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid
from pfmsmtrec_flwr.federation.protocol import HELLO, unpack_orders
from pfmsmtrec_flwr.federation.roll_call import RollCall
from pfmsmtrec_flwr.federation.server import quorum
from pfmsmtrec_flwr.federation.server.exchange import messages_for
from pfmsmtrec_flwr.federation.server.quorum import QuorumError, exchange_until_quorum
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.training.records import RoundRecord

pytestmark = pytest.mark.usefixtures("flower_run")


class Returning(InProcessGrid):
    """Node 12 is away at first; it is back after some looks, and answers then."""

    def __init__(self, strategy: ScenarioStrategy, looks: int) -> None:
        self.strategy, self.looks = strategy, looks
        self.asked: list[list[str]] = []
        strategy.roll = RollCall(self, strategy.config)

    def get_node_ids(self) -> list[int]:
        self.looks -= 1
        return [11] if self.looks >= 0 else [11, 12]

    def send_and_receive(self, messages: Sequence[Message], *, timeout: float | None = None) -> list[Message]:  # type: ignore[override]  # noqa: ARG002
        if messages[0].metadata.message_type == HELLO:
            return []
        self.asked += [unpack_orders(message.content)[2] for message in messages]
        return [
            Message(Error(5, "away"), reply_to=message)
            if message.metadata.dst_node_id == 12 and self.looks >= 0
            else moved(self.strategy, message)
            for message in messages
        ]


def test_a_node_that_comes_back_in_time_is_asked_again(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, "_LOOK_SECONDS", 0.0)
    strategy = strategy_of(tiny.config("fedavg", federation__node_timeout=60))
    grid = Returning(strategy, looks=3)
    record = RoundRecord(1)
    replies = exchange_until_quorum(strategy, grid, ask(strategy), record)
    assert grid.asked == [["A", "C"], ["B"], ["B"]]
    assert replies == []  # what was read is held once
    assert list(strategy.admission.of(replies)) == ["A", "B", "C"]


def test_a_node_that_does_not_come_back_is_waited_for_as_long_as_set(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quorum, "_LOOK_SECONDS", 0.01)
    strategy = strategy_of(tiny.config("fedavg", federation__node_timeout=0.05, federation__retries=2))
    grid = Returning(strategy, looks=1000)
    with pytest.raises(
        UserError, match=r"nothing usable from B, .*: away \(asked 3 times; no model has changed"
    ) as caught:
        exchange_until_quorum(strategy, grid, ask(strategy), RoundRecord(1))
    assert type(caught.value) is UserError  # by this name the log of a run is searched
    assert grid.asked == [["A", "C"], ["B"], ["B"], ["B"]]


def test_messages_to_some_scenarios_bring_what_they_brought_before(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config())
    messages = ask(strategy)
    (again,) = messages_for(messages, {"C": 11})
    (moved_on,) = messages_for(messages, {"C": 13, "B": 14})[:1]
    order, before, _ = unpack_orders(messages[0].content)
    repeated, incoming, names = unpack_orders(again.content)
    assert (again.metadata.dst_node_id, names, repeated) == (11, ["C"], order)
    assert incoming.personal.keys() == {"C"}
    assert (moved_on.metadata.dst_node_id, unpack_orders(moved_on.content)[2]) == (13, ["C"])
    assert all(torch.equal(value, before.personal["C"][key]) for key, value in incoming.personal["C"].items())


def test_too_few_replies_name_those_that_are_missing(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg"))
    with pytest.raises(QuorumError) as caught:
        strategy.admission.of([moved(strategy, ask(strategy)[0])])
    assert caught.value.missing == ["B"]


def test_the_reason_of_a_failure_is_known_when_the_next_question_has_no_answer(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg"))
    first, second = ask(strategy)
    with pytest.raises(QuorumError, match="the process died"):
        strategy.admission.of([moved(strategy, first), Message(Error(8, "the process died"), reply_to=second)])
    with pytest.raises(QuorumError, match=r"nothing usable from B, .*: the process died$"):
        strategy.admission.of([])
    assert list(strategy.admission.of([moved(strategy, second)])) == ["A", "B", "C"]
