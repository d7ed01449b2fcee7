from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from federated import Tiny
from flwr.app import ArrayRecord, ConfigRecord, Error, Message
from flwr.serverapp import Grid
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.inprocess import run_identity
from pfmsmtrec_flwr.federation.protocol import TRAIN, Reply, pack_replies, unpack_orders, unpack_replies
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.methods import find_method
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.training.description import Description

NODES = {"A": 11, "B": 12, "C": 11}
EXAMPLES = {"A": 30, "B": 10, "C": 60}
POSITIVES = {"A": 10, "B": 1, "C": 6}
STEPS = {"A": 0.1, "B": 0.2, "C": 0.3}
TABLE = "federated_embeddings.weight"
ONE_FOR_ALL = {"pf_msmtrec__consensus": "examples", "pf_msmtrec__personalized_tables": False}
GIVEN_NOTHING = {"pf_msmtrec__expert_weight": 0.0, "pf_msmtrec__tower_weight": 0.0, "pf_msmtrec__hyper_lr": 0.0}


@pytest.fixture(autouse=True)
def run() -> Iterator[None]:
    with run_identity(1):
        yield


def described(name: str, *tasks: str) -> Description:
    return Description(
        scenario=name,
        dataset="tiny",
        schema_hash="x",
        tasks=list(tasks) or ["click"],
        numeric=2,
        fields=["item", "person"],
        rows=[5, 1],
        federated=[True, False],
        examples={"train": EXAMPLES[name], "validation": 1, "test": 1},
        train_positives=[1] * (len(tasks) or 1),
        used_rows=EXAMPLES[name],
        used_positives=[POSITIVES[name]] * (len(tasks) or 1),
    )


def strategy_of(config: RunConfig) -> ScenarioStrategy:
    strategy = find_method(config.method).strategy(config)
    strategy.begin(Federation({name: described(name) for name in NODES}, NODES))
    return strategy


def ask(strategy: ScenarioStrategy, number: int = 1) -> list[Message]:
    return list(strategy.configure_train(number, ArrayRecord(), ConfigRecord(), None))  # type: ignore[arg-type]


def moved(
    strategy: ScenarioStrategy, message: Message, steps: Mapping[str, float] = STEPS, **changes: Mapping[str, Any]
) -> Message:
    """Answer a message: every parameter of a scenario has gone up by its step, by a tenth of (i + 1) of scenario i."""
    order, incoming, scenarios = unpack_orders(message.content)
    replies = {}
    for name in scenarios:
        step = steps[name]
        sent = incoming.common | incoming.personal[name]
        slots = strategy.parameters.slots[name]
        wanted = [key for key in names_of(slots, order.parts) if key != TABLE]
        rows = {}
        if Part.FEDERATED_EMBEDDING in order.parts:
            touched = torch.tensor([1, 1 + "ABC".index(name) + 1])
            rows[TABLE] = RowUpdate(touched, sent[TABLE][touched] + step, torch.tensor([EXAMPLES[name], 2]))
        values = {key: sent[key] + step if sent[key].is_floating_point() else sent[key] + 7 for key in wanted}
        reply = Reply({"examples": EXAMPLES[name], "loss.click": 0.5}, values, rows)
        replies[name] = replace(reply, **changes.get(name, {}))
    return Message(pack_replies(replies), reply_to=message)


def aggregate(strategy: ScenarioStrategy, *, turned: bool = False, **changes: Any) -> None:
    replies = [moved(strategy, message, **changes) for message in ask(strategy)]
    strategy.aggregate_train(1, replies[::-1] if turned else replies)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


# The mean step, weighted by rows: 0.3 * 0.1 + 0.1 * 0.2 + 0.6 * 0.3
MEAN_STEP = 0.23


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


@pytest.mark.parametrize("consensus", [{}, ONE_FOR_ALL], ids=["all agree", "one for all"])
def test_pf_msmtrec_in_numbers(tiny: Tiny, consensus: dict[str, Any]) -> None:
    settings = {"pf_msmtrec__conflict_radius": 0.0, "pf_msmtrec__expert_weight": 0.5, "pf_msmtrec__interpolation": 0.25}
    strategy = strategy_of(tiny.config(**settings, **consensus))
    common = {name: tensor.clone() for name, tensor in strategy.parameters.common.items()}
    start = {key: tensor.clone() for key, tensor in strategy.parameters.personal["A"].items()}
    slots = strategy.parameters.slots["A"]
    table = {Part.FEDERATED_EMBEDDING}
    assert {slots[name].part for name in common} == {Part.EXPERT_GLOBAL} | (table if consensus else set())
    assert {slots[name].part for name in start} == {Part.EXPERT_SCENARIO, Part.TOWER} | (set() if consensus else table)
    aggregate(strategy)
    for name in names_of(slots, [Part.EXPERT_GLOBAL]):
        close(strategy.parameters.common[name], common[name] + MEAN_STEP)
    for scenario in NODES:
        close(strategy.parameters.of(scenario)[TABLE][1], (common | start)[TABLE][1] + MEAN_STEP)
    # Experts: U is the plain mean 0.2; each ends at its step + 0.5 * 0.2; then a quarter of the way to the mean.
    ends = [step + 0.5 * 0.2 for step in (0.1, 0.2, 0.3)]
    consensus = MEAN_STEP + 0.1
    for scenario, end in zip("ABC", ends, strict=True):
        for name in names_of(slots, [Part.EXPERT_SCENARIO]):
            found = strategy.parameters.personal[scenario][name]
            close(found, start[name] + 0.75 * end + 0.25 * consensus)
    # Towers: per layer of d values, the scores are d * step_i * step_j / sqrt(d).
    layers: dict[int, list[str]] = {}
    for name in names_of(slots, [Part.TOWER]):
        layers.setdefault(slots[name].layer, []).append(name)
    assert len(layers) == 2
    steps = (0.1, 0.2, 0.3)
    for names in layers.values():
        size = sum(start[name].numel() for name in names)
        attended = []
        for mine in steps:
            powers = [math.exp(math.sqrt(size) * mine * other) for other in steps]
            attended.append(sum(p * other for p, other in zip(powers, steps, strict=True)) / sum(powers))
        ends = [step + 0.5 * mixed for step, mixed in zip(steps, attended, strict=True)]
        consensus = 0.3 * ends[0] + 0.1 * ends[1] + 0.6 * ends[2]
        for scenario, end in zip("ABC", ends, strict=True):
            for name in names:
                close(strategy.parameters.personal[scenario][name], start[name] + 0.75 * end + 0.25 * consensus)


OPPOSED = {"A": 0.1, "B": 0.2, "C": -0.3}


def copies(strategy: ScenarioStrategy, scenario: str) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in strategy.parameters.of(scenario).items()}


def personal_names(strategy: ScenarioStrategy) -> list[str]:
    return names_of(strategy.parameters.slots["A"], [Part.EXPERT_SCENARIO, Part.TOWER])


def test_a_scenario_that_opposes_all_others_is_left_with_its_own_parameters(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__interpolation=0.5, **GIVEN_NOTHING))
    start = copies(strategy, "A")
    aggregate(strategy, steps=OPPOSED)
    held = strategy.parameters.personal
    for name in personal_names(strategy):
        assert torch.equal(held["C"][name], start[name] - 0.3)
        # A and B have a consensus of their own, at 0.75 * 0.1 + 0.25 * 0.2.
        close(held["A"][name], start[name] + 0.5 * (0.1 + 0.125))
        close(held["B"][name], start[name] + 0.5 * (0.2 + 0.125))
    rows = {"A": (0, 0.125, 0.1, 0.2, 0), "B": (0, 0.125, 0.1, 0.2, 0), "C": (0, -0.3, 0, 0, -0.3)}
    for scenario, steps in rows.items():
        close(held[scenario][TABLE], start[TABLE] + torch.tensor(steps)[:, None])
    # The consensus that is measured has the tables too, by training rows.
    means = [sum(share * rows[name][row] for name, share in zip("ABC", (0.3, 0.1, 0.6), strict=True)) for row in (1, 4)]
    close(strategy.consensus()[TABLE][[1, 4]], start[TABLE][[1, 4]] + torch.tensor(means)[:, None])


def test_with_one_consensus_it_is_pulled_to_the_others(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__interpolation=0.5, **GIVEN_NOTHING, **ONE_FOR_ALL))
    start = copies(strategy, "A")
    aggregate(strategy, steps=OPPOSED)
    mean = 0.3 * 0.1 + 0.1 * 0.2 - 0.6 * 0.3
    for name in personal_names(strategy):
        close(strategy.parameters.personal["C"][name], start[name] + 0.5 * (mean - 0.3))
    for row, step in enumerate((0, mean, 0.1, 0.2, -0.3)):
        close(strategy.parameters.common[TABLE][row], start[TABLE][row] + step)


def test_tables_of_their_own_are_the_common_one_where_all_count(tiny: Tiny) -> None:
    own = strategy_of(tiny.config(pf_msmtrec__consensus="examples"))
    common = strategy_of(tiny.config(**ONE_FOR_ALL))
    for strategy in (own, common):
        for _ in range(2):
            aggregate(strategy, steps=OPPOSED)
    for scenario in NODES:
        assert torch.equal(own.parameters.personal[scenario][TABLE], common.parameters.common[TABLE])


def test_agreement_survives_a_missing_scenario(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__interpolation=0.5, federation__min_scenarios=2, **GIVEN_NOTHING))
    assert isinstance(strategy, PFMSMTRec)
    aggregate(strategy, steps=OPPOSED)
    away = copies(strategy, "B")
    start: dict[str, dict[str, Tensor]] = {}
    for number in (2, 3):  # without the node of B; A and C move together now
        start = {scenario: copies(strategy, scenario) for scenario in "AC"}
        message = next(each for each in ask(strategy, number) if each.metadata.dst_node_id == NODES["A"])
        strategy.aggregate_train(number, [moved(strategy, message, STEPS | {"C": 0.1})])
    # The mean cosine of A and C is (-1 + 1 + 1) / 3, that of A and B is 1 as it was.
    expected = torch.tensor([[1, 1, 1 / 3], [1, 1, 0], [1 / 3, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(strategy.memory.agreement.among("ABC"), expected, rtol=0, atol=1e-6)
    held = strategy.parameters.personal
    for name in personal_names(strategy):
        assert torch.equal(held["B"][name], away[name])
        ends = {scenario: own[name] + 0.1 for scenario, own in start.items()}
        # Rows by agreement: 30 and 60 / 3 in A's consensus, 30 / 3 and 60 in C's.
        close(held["A"][name], ends["A"] + 0.5 * 0.4 * (ends["C"] - ends["A"]))
        close(held["C"][name], ends["C"] + 0.5 / 7 * (ends["A"] - ends["C"]))
    assert torch.equal(held["B"][TABLE], away[TABLE])
    first, second = (start[scenario][TABLE][1] + 0.1 for scenario in "AC")  # used 30 and 60 times
    close(held["A"][TABLE][1], 0.6 * first + 0.4 * second)
    close(held["C"][TABLE][1], first / 7 + second * 6 / 7)
    for scenario, own in start.items():  # a row that nobody touched stays what it is in each scenario's own table
        assert torch.equal(held[scenario][TABLE][3], own[TABLE][3])
    close(start["A"][TABLE][3] - start["C"][TABLE][3], torch.full((2,), 0.2))


def test_shares_are_learned_from_the_second_round_on(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__conflict_radius=0.0, pf_msmtrec__hyper_lr=0.1))
    aggregate(strategy)
    assert strategy.shares() == {name: {"alpha": 0.5, "beta": 0.5} for name in "ABC"}
    aggregate(strategy)  # all move on along U: the cosine is 1
    for shares in strategy.shares().values():
        assert shares == pytest.approx({"alpha": 0.6, "beta": 0.6}, abs=1e-6)


def test_a_scenario_that_missed_a_round_learns_its_share_from_what_it_was_given(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__hyper_lr=0.1, federation__min_scenarios=2))
    assert isinstance(strategy, PFMSMTRec)
    aggregate(strategy)
    first = dict(strategy.memory.given_experts)
    replies = [moved(strategy, message) for message in ask(strategy)]
    strategy.aggregate_train(1, replies[:-1])
    answered = {name for reply in replies[:-1] for name in unpack_replies(reply.content)}
    assert answered < set("ABC")
    for name in "ABC":
        assert (strategy.memory.given_experts[name] is first[name]) == (name not in answered)


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
