from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from federated import Tiny
from flwr.app import ConfigRecord, Error, Message
from flwr.serverapp import Grid
from replies import (
    MEAN_STEP,
    NODES,
    TABLE,
    aggregate,
    ask,
    close,
    described,
    moved,
    strategy_of,
)

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.inprocess import run_identity
from pfmsmtrec_flwr.federation.protocol import TRAIN, unpack_orders
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.methods import find_method
from pfmsmtrec_flwr.model import Part


@pytest.fixture(autouse=True)
def run() -> Iterator[None]:
    with run_identity(1):
        yield


@pytest.mark.parametrize("method", ["fedavg", "fedbn"])
def test_fedavg_is_the_mean_weighted_by_rows(tiny: Tiny, method: str) -> None:
    strategy = strategy_of(tiny.config(method))
    start = {name: tensor.clone() for name, tensor in strategy.parameters.common.items()}
    parts = {strategy.parameters.slots["A"][name].part for name in start}
    assert Part.LOCAL_EMBEDDING not in parts
    assert (Part.NORMALIZATION in parts) == (method == "fedavg")
    assert parts >= {Part.EXPERT_GLOBAL, Part.EXPERT_TASK, Part.EXPERT_SCENARIO, Part.GATE, Part.TOWER}
    aggregate(strategy)
    for name, tensor in strategy.parameters.common.items():
        if tensor.is_floating_point() and name != TABLE:
            close(tensor, start[name] + MEAN_STEP)
        elif name != TABLE:
            assert tensor.item() == start[name].item() + 7
    table, before = strategy.parameters.common[TABLE], start[TABLE]
    close(table[1], before[1] + MEAN_STEP)  # touched by all, as often as they have rows
    for row, step in ((2, 0.1), (3, 0.2), (4, 0.3)):  # touched by one
        close(table[row], before[row] + step)
    assert torch.equal(table[0], before[0])
    assert all(not tensors for tensors in strategy.parameters.personal.values())


def test_plain_averages_dilute_rows(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg", federation__tables="plain"))
    before = strategy.parameters.common[TABLE].clone()
    aggregate(strategy)
    table = strategy.parameters.common[TABLE]
    for row, step in ((0, 0), (1, MEAN_STEP), (2, 0.3 * 0.1), (3, 0.1 * 0.2), (4, 0.6 * 0.3)):
        close(table[row], before[row] + step)


def test_alone_sends_and_receives_no_parameter(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("alone"))
    for message in ask(strategy):
        assert list(message.content.array_records) == []
        assert unpack_orders(message.content)[0].parts == ()
    aggregate(strategy)
    assert strategy.parameters.common == {}


@pytest.mark.parametrize("method", ["fedavg", "pf-msmtrec"])
def test_the_order_of_replies_changes_no_bit(tiny: Tiny, method: str) -> None:
    one, other = strategy_of(tiny.config(method)), strategy_of(tiny.config(method))
    for _ in range(2):
        aggregate(one)
        aggregate(other, turned=True)
    consensus = other.consensus()
    assert consensus
    assert all(torch.equal(tensor, consensus[name]) for name, tensor in one.consensus().items())


def test_every_message_has_records_of_its_own(tiny: Tiny) -> None:
    messages = ask(strategy_of(tiny.config(pf_msmtrec__regularization=0.1)))
    assert [message.metadata.dst_node_id for message in messages] == [11, 12]
    assert all(message.metadata.message_type == TRAIN for message in messages)
    assert [unpack_orders(message.content)[2] for message in messages] == [["A", "C"], ["B"]]
    first, second = (message.content for message in messages)
    assert first is not second
    assert not {id(record) for record in first.values()} & {id(record) for record in second.values()}
    first["common"].clear()
    assert second["common"]


def test_names_that_scenarios_share_start_alike(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config())
    personal = strategy.parameters.personal
    for key, tensor in personal["A"].items():
        assert torch.equal(tensor, personal["B"][key])
        assert tensor.data_ptr() != personal["B"][key].data_ptr()
        torch.testing.assert_close(strategy.consensus()[key], tensor)


BIAS = "towers.of_task.click.4.bias"
LIKE = "towers.of_task.like.4.bias"


def test_a_common_output_bias_starts_at_the_rate_over_all_scenarios(tiny: Tiny) -> None:
    strategy = find_method("fedavg").strategy(tiny.config("fedavg", model__template="none"))
    tasks = {"A": ("click", "like"), "B": ("click",), "C": ("like", "click")}
    strategy.begin(Federation({name: described(name, *own) for name, own in tasks.items()}, NODES))
    common = strategy.parameters.common
    assert common[BIAS].tolist() == pytest.approx([math.log(17.5 / 83.5)])  # 17 of 100
    assert common[LIKE].tolist() == pytest.approx([math.log(16.5 / 74.5)])  # 16 of the 90 that have the task


def test_a_personal_output_bias_starts_at_the_scenarios_own_rate(tiny: Tiny) -> None:
    personal = strategy_of(tiny.config(pf_msmtrec__output_bias="federated")).parameters.personal
    odds = {"A": 10.5 / 20.5, "B": 1.5 / 9.5, "C": 6.5 / 54.5}
    assert {name: float(own[BIAS]) for name, own in personal.items()} == pytest.approx(
        {name: math.log(each) for name, each in odds.items()}
    )
    assert all(BIAS not in own for own in strategy_of(tiny.config()).parameters.personal.values())


@pytest.mark.parametrize(
    ("architecture", "part", "refused"),
    [
        ("single-task", Part.FEDERATED_EMBEDDING, True),
        ("aitm", Part.FEDERATED_EMBEDDING, False),
        ("aitm", Part.EXPERT_SCENARIO, True),
        ("aitm", Part.TOWER, False),
        ("ple", Part.GATE, True),
        ("mmoe", Part.GATE, False),
        ("mmoe", Part.EXPERT_TASK, True),
        ("shared-bottom", Part.EXPERT_SCENARIO, False),
    ],
)
@pytest.mark.parametrize("personal", [False, True])
@pytest.mark.parametrize("tasks", [("click", "share"), ("like", "click")], ids=["another", "turned"])
def test_what_has_an_axis_of_tasks_is_shared_by_equal_tasks_alone(
    tiny: Tiny, architecture: str, part: Part, refused: bool, personal: bool, tasks: tuple[str, ...]
) -> None:
    config = tiny.config("alone", model__architecture=architecture, model__experts=3)
    shared = frozenset({part})
    for own in (("click", "like"), tasks):
        strategy = find_method("alone").strategy(config)
        strategy.sharing = Sharing(personal=shared) if personal else Sharing(common=shared)
        federation = Federation({"A": described("A", "click", "like"), "B": described("B", *own)}, NODES)
        if refused and own == tasks:
            with pytest.raises(UserError, match=rf"A has the tasks click, like and B has {', '.join(own)}: set model"):
                strategy.begin(federation)
        else:
            strategy.begin(federation)


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

    relaxed = strategy_of(tiny.config("fedavg", federation__min_scenarios=2))
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


class Losing(Grid):
    """Carries messages, and loses the replies of one node."""

    def __init__(self, grid: Any, lost: int) -> None:
        self.grid = grid
        self.lost = lost

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        replies = self.grid.send_and_receive(messages, timeout=timeout)
        kept = ("query.hello",)
        return [
            reply for reply in replies if reply.metadata.src_node_id != self.lost or reply.metadata.message_type in kept
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.grid, name)

    set_run = run = create_message = get_node_ids = push_messages = pull_messages = None  # type: ignore[assignment]


def test_a_run_ends_well_without_a_scenario_that_never_answers(tiny: Tiny, tmp_path: Any) -> None:
    from federated import RecordingGrid

    from client_app import app
    from pfmsmtrec_flwr.federation.inprocess import simulated_contexts

    config = tiny.config(federation__min_scenarios=1)
    contexts = simulated_contexts(1, 2, {"output": str(tmp_path), "data": str(tiny.root)})
    inner = RecordingGrid(app, contexts)
    grid = Losing(inner, lost=2)
    grid.get_node_ids = inner.get_node_ids
    result = find_method("pf-msmtrec").strategy(config).start(grid)
    assert list(result.test) == ["FR"]
    assert result.selected.keys() == {"FR"}
    assert [list(record.validation) for record in result.rounds] == [["FR"], ["FR"]]


def test_what_flowers_interface_offers_and_is_not_used_is_refused(tiny: Tiny) -> None:
    strategy = find_method("alone").strategy(tiny.config("alone"))
    with pytest.raises(UserError, match="change the run's configuration"):
        strategy.start(None, train_config=ConfigRecord({"lr": 0.1}))  # type: ignore[arg-type]
