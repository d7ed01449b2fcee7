from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from federated import Tiny
from flwr.app import Error, Message
from replies import EXAMPLES, NODES, TABLE, aggregate, ask, close, moved, strategy_of

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import TRAIN, Reply, unpack_orders
from pfmsmtrec_flwr.federation.server import admission
from pfmsmtrec_flwr.federation.server.expected_reply import ExpectedReply
from pfmsmtrec_flwr.federation.server.reading import Records, read_reply
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import Part

pytestmark = pytest.mark.usefixtures("flower_run")

NAN = {TABLE: RowUpdate(torch.tensor([1]), torch.full((1, 2), math.nan), torch.tensor([1]))}
BAD_ROWS: list[tuple[list[int], tuple[int, int], list[int]]] = [
    ([5], (1, 2), [1]),  # beyond the table
    ([-1], (1, 2), [1]),
    ([2, 2], (2, 2), [1, 1]),  # twice
    ([1], (1, 3), [1]),
    ([1], (1, 2), [0]),
    ([1], (1, 2), [1, 1]),
]


@pytest.mark.parametrize(
    "change",
    [
        {"error": "scenario B, round 1: the disk is full"},
        {"parameters": {}},
        {"parameters": {"stranger": torch.zeros(2)}},
        {"rows": {}},
        {"rows": NAN},
        *(
            {"rows": {TABLE: RowUpdate(torch.tensor(rows), torch.zeros(shape), torch.tensor(counts))}}
            for rows, shape, counts in BAD_ROWS
        ),
        {"figures": {"examples": 10}},
        {"figures": {"examples": 0, "loss.click": 1.0}},
        {"figures": {"examples": math.nan, "loss.click": 1.0}},
    ],
)
def test_an_unusable_reply_ends_the_round_or_is_done_without(tiny: Tiny, change: dict[str, Any]) -> None:
    strict = strategy_of(tiny.config("fedavg"))
    with pytest.raises(
        UserError, match=r"^round 1: nothing usable from B, 3 scenarios are needed: scenario B"
    ) as caught:
        aggregate(strict, B=change)
    assert "\n" not in str(caught.value)

    relaxed = strategy_of(tiny.config("fedavg", federation__min_scenarios=2, federation__clip=0))
    start = {name: tensor.clone() for name, tensor in relaxed.parameters.common.items()}
    aggregate(relaxed, B=change)
    gate = names_of(relaxed.parameters.slots["A"], [Part.GATE])[0]
    close(relaxed.parameters.common[gate], start[gate] + (30 * 0.1 + 60 * 0.3) / 90)


def test_a_node_that_fails_takes_its_scenarios_with_it(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg"))
    first, second = ask(strategy)
    failed = Message(Error(8, "the process died"), reply_to=first)
    with pytest.raises(UserError, match=r"^round 1: nothing usable from A, C, .* needed: the process died$"):
        strategy.aggregate_train(1, [failed, moved(strategy, second)])


def test_an_absent_reply_is_a_deadline_missed(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg", federation__round_timeout=7.0))
    with pytest.raises(UserError, match=r"nothing usable from B, 3 scenarios are needed: no answer within 7 s$"):
        strategy.aggregate_train(1, [moved(strategy, ask(strategy)[0])])


def test_a_node_answers_for_its_own_scenarios_only(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg"))
    first, second = ask(strategy)
    swapped = Message(moved(strategy, first).content, reply_to=second)  # node 12 answers for A and C
    with pytest.raises(UserError, match=r"nothing usable from A, B, C, .*: node 12 answers for A, which it does"):
        strategy.aggregate_train(1, [swapped])


def test_a_scenario_that_was_not_asked_has_no_say(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg", federation__min_scenarios=2))
    messages = ask(strategy)
    strategy.admission.ask(TRAIN, unpack_orders(messages[0].content)[0], only=["A", "B"])
    replies = [moved(strategy, message) for message in messages]
    assert list(strategy.admission.of(replies)) == ["A", "B"]


def test_replies_are_read_once_for_all_that_comes_of_them(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(records: Records, expected: ExpectedReply) -> Reply:
        read.append(expected.scenario)
        return read_reply(records, expected)

    monkeypatch.setattr(admission, "read_reply", counted)
    strategy = strategy_of(tiny.config("fedavg"))
    replies = [moved(strategy, message) for message in ask(strategy)]
    found = strategy.admission.of(replies)
    assert strategy.admission.of([]) is found
    assert sorted(read) == ["A", "B", "C"]
    assert all(reply.content for reply in replies)  # who keeps the messages finds in them what came


def test_validation_figures_of_a_refused_update_do_not_count(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg", federation__min_scenarios=2))
    aggregate(strategy)
    validated = {"validation.auc.click": 0.5, "validation.logloss.click": 0.3, "gate.click.0": 0.4, "gate.click.1": 0.6}
    changes: dict[str, Any] = {
        name: {"figures": {"examples": EXAMPLES[name], "loss.click": 0.5, **validated}} for name in NODES
    }
    changes["B"]["figures"] |= {"validation.auc.click": 1.0, "loss.click": -1.0}
    replies = [moved(strategy, message, **changes) for message in ask(strategy, 2)]
    strategy.aggregate_evaluate(1, replies)
    assert list(strategy.record(1).validation) == list(strategy.record(1).gates) == ["A", "C"]
    assert "B" not in strategy.selection.selected
