"""The grid that waits for replies at short intervals."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.parcels import PARCEL
from pfmsmtrec_flwr.federation.prompt_grid import PromptGrid
from pfmsmtrec_flwr.federation.protocol import pack_tensors


class LateGrid(InProcessGrid):
    """Grid whose replies can be pulled some questions later."""

    def __init__(self, app: ClientApp, questions: int) -> None:
        super().__init__(app, simulated_contexts(7, 3, {}))
        self.questions = questions
        self.asked = 0

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self.asked += 1
        return super().pull_messages(sorted(message_ids)[: max(0, self.asked - self.questions)])

    def send_and_receive(self, *_: object, **__: object) -> list[Message]:
        raise AssertionError("the prompt grid waits itself")


@pytest.fixture
def app() -> Iterator[ClientApp]:
    app = ClientApp()

    @app.query("echo")
    def echo(message: Message, context: Context) -> Message:
        return Message(RecordDict({"node": ConfigRecord({"id": context.node_id})}), reply_to=message)

    with run_identity(7):
        yield app


def questions_to(nodes: Iterable[int]) -> list[Message]:
    return [Message(RecordDict(), node, "query.echo") for node in nodes]


def test_all_replies_come_however_late(app: ClientApp) -> None:
    grid = LateGrid(app, questions=2)
    started = time.monotonic()
    replies = PromptGrid(grid).send_and_receive(questions_to([1, 2, 3]), timeout=20)
    assert sorted(reply.metadata.src_node_id for reply in replies) == [1, 2, 3]
    assert time.monotonic() - started < 2.5  # Flower's own wait is three seconds


def test_replies_by_the_deadline(app: ClientApp) -> None:
    grid = LateGrid(app, questions=1000)
    started = time.monotonic()
    assert PromptGrid(grid).send_and_receive(questions_to([1, 2]), timeout=0.2) == []
    assert 0.2 <= time.monotonic() - started < 2.5
    assert PromptGrid(grid).send_and_receive([], timeout=5) == []


def test_everything_else_is_the_other_grids(app: ClientApp) -> None:
    grid = LateGrid(app, questions=0)
    prompt = PromptGrid(grid)
    assert (prompt.run, list(prompt.get_node_ids())) == (grid.run, [1, 2, 3])
    prompt.set_run(grid.run)
    message = prompt.create_message(RecordDict(), "query.echo", 2, "1")
    assert (message.metadata.dst_node_id, message.metadata.group_id) == (2, "1")


def test_small_arrays_travel_as_one_both_ways() -> None:
    app, came = ClientApp(), []

    @app.query("echo")
    def echo(message: Message, context: Context) -> Message:  # noqa: ARG001
        came.append(message.content)
        return Message(message.content, reply_to=message)

    content = RecordDict({"common": pack_tensors({"w": torch.ones(2), "b": torch.zeros(3)})})
    with run_identity(7):
        message = Message(content, 1, "query.echo")
        (reply,) = PromptGrid(InProcessGrid(app, simulated_contexts(7, 1, {}))).send_and_receive([message])
    assert list(came[0]["common"]) == [PARCEL]
    assert message.content is content  # it may be sent again
    assert reply.content == content


def test_an_error_comes_as_it_is(app: ClientApp) -> None:
    grid = PromptGrid(InProcessGrid(app, simulated_contexts(7, 1, {})))
    (reply,) = grid.send_and_receive([Message(RecordDict(), 1, "query.unknown")])
    assert reply.has_error()
