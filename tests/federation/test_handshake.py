from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from federated import Tiny
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from hellos import described

import pfmsmtrec_flwr
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation import handshake, node, protocol
from pfmsmtrec_flwr.federation.handshake import shake_hands
from pfmsmtrec_flwr.federation.hosting import open_hosted_scenario
from pfmsmtrec_flwr.federation.inprocess import run_identity
from pfmsmtrec_flwr.federation.protocol import HELLO, Order
from pfmsmtrec_flwr.federation.roll_call import RollCall
from pfmsmtrec_flwr.training.description import describe, training_rows

CONFIG = RunConfig.model_validate({"federation": {"node_timeout": 0.05}})
Answer = dict[str, Any] | str


def hosting(*names: str, **changes: Any) -> dict[str, Any]:
    scenarios = [described(name) for name in names]
    return {"version": pfmsmtrec_flwr.__version__, "partitions": 0, "scenarios": scenarios, "error": ""} | changes


class FakeGrid:
    """Nodes with ready answers; text stands for an error, none for silence.

    A node is seen from a number of looks on, or up to one.
    """

    def __init__(
        self, answers: dict[int, Answer], late: dict[int, int] | None = None, gone: dict[int, int] | None = None
    ) -> None:
        self.answers = answers
        self.late, self.gone = late or {}, gone or {}
        self.looks = 0
        self.asked: list[int] = []

    def get_node_ids(self) -> list[int]:
        self.looks += 1
        return [
            number for number in self.answers if self.late.get(number, 0) < self.looks <= self.gone.get(number, 10**9)
        ]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None) -> list[Message]:
        assert timeout is not None
        replies = []
        for message in messages:
            assert message.metadata.message_type == HELLO
            self.asked.append(message.metadata.dst_node_id)
            answer = self.answers[message.metadata.dst_node_id]
            if not answer:
                continue
            if isinstance(answer, str):
                replies.append(Message(Error(2, answer), reply_to=message))
            else:
                content = RecordDict({"hello": ConfigRecord({"hello": json.dumps(answer)})})
                replies.append(Message(content, reply_to=message))
        return replies[::-1]


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(handshake, "_RETRY_SECONDS", 0.005)
    with run_identity(1):
        yield


def shake(
    answers: dict[int, Answer], expected: Iterable[str] = (), quorum: int = 0, **more: Any
) -> handshake.Federation:
    config = CONFIG.with_settings({"federation.min_scenarios": quorum}, "test")
    return shake_over(FakeGrid(answers, **more), expected, config)


def shake_over(grid: FakeGrid, expected: Iterable[str], config: RunConfig = CONFIG) -> handshake.Federation:
    return shake_hands(RollCall(grid, config), config, list(expected))  # type: ignore[arg-type]


def test_scenarios_stand_in_the_order_of_their_names() -> None:
    federation = shake({7: hosting("US", "ES"), 3: hosting("NL")})
    assert list(federation.scenarios) == ["ES", "NL", "US"]
    assert federation.hosts == {"ES": 7, "NL": 3, "US": 7}
    assert federation.nodes() == {7: ["ES", "US"], 3: ["NL"]}
    spec = federation.scenarios["NL"].spec()
    assert [(field.name, field.rows, field.federated) for field in spec.fields] == [
        ("item", 12, True),
        ("person", 1, False),
    ]


def test_strangers_and_idle_nodes_take_no_part() -> None:
    federation = shake({1: hosting("NL", "XX"), 2: hosting(), 3: hosting("XX")}, ["NL"])
    assert federation.hosts == {"NL": 1}


def test_late_nodes_are_waited_for_and_each_is_asked_once() -> None:
    grid = FakeGrid({1: hosting("NL"), 2: hosting("US")}, late={2: 3})
    federation = shake_over(grid, ["NL", "US"])
    assert sorted(federation.hosts) == ["NL", "US"]
    assert grid.asked == [1, 2]


def test_a_simulation_waits_for_all_its_nodes() -> None:
    answers: dict[int, Answer] = {1: hosting("NL", partitions=2), 2: hosting("US", partitions=2)}
    assert sorted(shake(answers, late={2: 2}).hosts) == ["NL", "US"]


def test_a_node_that_failed_is_asked_again() -> None:
    grid = FakeGrid({1: "out of memory"})

    def recover() -> list[int]:
        if len(grid.asked) == 2:
            grid.answers[1] = hosting("NL")
        return [1]

    grid.get_node_ids = recover  # type: ignore[method-assign]
    assert shake_over(grid, ["NL"]).hosts == {"NL": 1}
    assert grid.asked == [1, 1, 1]


REFUSED: list[tuple[dict[int, Answer], list[str], str]] = [
    (
        {4: hosting("NL"), 5: hosting("US", "NL")},
        [],
        "^scenario NL is hosted by nodes 4 and 5, and nothing tells which is right: give each node its own with "
        "--node-config 'scenarios=\"NAME\"', or bind scenarios to keys, as `pfmsmtrec deploy init` does$",
    ),
    (
        {4: hosting("NL")},
        ["NL", "US", "ES"],
        r"^scenario ES, US is hosted by no node after 0.05 s \(1 nodes online, hosting NL\): start the missing nodes",
    ),
    ({4: hosting()}, [], r"^no node hosts any scenario after 0.05 s \(1 nodes online, hosting nothing\)"),
    (
        {4: hosting("NL", partitions=2), 5: "MemoryError: no more"},
        [],
        r"^not every node has answered after 0.05 s \(2 nodes online, hosting NL\): .*; a node failed: MemoryError",
    ),
    ({}, ["NL"], r"^scenario NL is hosted by no node after 0.05 s \(0 nodes online, hosting nothing\)"),
    (
        {4: hosting("NL"), 5: hosting("NL")},
        ["NL", "US"],
        "^scenario US is hosted by no node after .*; left out: scenario NL is hosted by nodes 4 and 5, and nothing",
    ),
    ({4: "MemoryError: no more"}, ["NL"], r"; a node failed: MemoryError: no more$"),
    ({4: ""}, ["NL"], r"; left out: node 4 did not answer within 1 s$"),
    (
        {4: hosting(version="9.9")},
        [],
        r"^no node hosts any scenario .*; left out: node 4 runs pfmsmtrec-flwr 9.9, the server .*: install the same$",
    ),
    (
        {4: hosting(version="9.9", partitions=1)},
        [],
        r"^node 4 runs pfmsmtrec-flwr 9.9, the server .*: install the same$",
    ),
    (
        {4: hosting(error="no prepared data of 'x' in /y", partitions=1)},
        [],
        "^node 4: no prepared data of 'x' in /y$",
    ),
    (
        {4: hosting("NL", partitions=2), 5: hosting(error="no prepared data of 'x' in /y", partitions=2)},
        [],
        "^node 5: no prepared data of 'x' in /y$",
    ),
    (
        {4: hosting("NL", partitions=1, failed={"US": "its rows are damaged"})},
        [],
        "^node 4: its rows are damaged$",
    ),
    (
        {4: hosting("NL", failed={"US": "its rows are damaged"})},
        ["NL", "US"],
        r"^scenario US is hosted by no node after 0.05 s .*; left out: node 4: its rows are damaged$",
    ),
    ({4: {"what": "garbage"}}, ["NL"], "; left out: node 4: key 'version' is missing$"),
    (
        {4: hosting("NL"), 5: hosting(scenarios=[described("US", schema_hash="b" * 32)])},
        [],
        r"^scenarios NL and US were prepared with different schemas \(aaaaaaaa of tiny, bbbbbbbb of tiny\): prepare",
    ),
    (
        {
            4: hosting(scenarios=[described("NL", split_rule="{by_user: {test: 0.1}}"), described("FR")]),
            5: hosting(scenarios=[described("US", split_rule="{by_user: {test: 0.2}}")]),
        },
        [],
        r"^scenarios NL and US were prepared under different split rules \(NL: {by_user: {test: 0.1}}; US: {by_user: "
        r"{test: 0.2}}\): agree on one, and prepare again, `pfmsmtrec prepare tiny --source DIR`$",
    ),
    (
        {4: hosting(scenarios=[described("NL", train_positives=[0, 1])])},
        [],
        r"^task click has one class only in the training rows of scenario NL \(0 positives of 10\): leave",
    ),
    (
        {4: hosting(scenarios=[described("NL", train_positives=[3, 1], labelled={"train": [10, 1]})])},
        [],
        r"^task like has one class only in the training rows of scenario NL \(1 positives of 1\): leave",
    ),
    ({4: hosting(scenarios=[described("NL", train_positives=[10, 1])])}, [], r"\(10 positives of 10\)"),
    (
        {4: hosting(scenarios=[described("NL", examples={"train": 10, "validation": 0, "test": 5})])},
        [],
        "^scenario NL has no rows for validation: ",
    ),
    (
        {4: hosting(scenarios=[described("NL", rows="many")])},
        [],
        "left out: node 4: key 'scenarios.0.rows': got 'many'",
    ),
]


@pytest.mark.parametrize(("answers", "expected", "message"), REFUSED)
def test_what_does_not_fit_is_said_in_one_line(answers: dict[int, Answer], expected: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        shake(answers, expected)
    assert "\n" not in str(caught.value)


GARBAGE: dict[str, Answer] = {
    "another version": hosting("ES", version="9.9"),
    "an error": hosting("ES", error="no prepared data of 'x' in /y"),
    "no document": {"what": "garbage"},
    "a list of numbers": hosting(scenarios=[1, 2]),
    "text for a number": hosting("ES", partitions="many"),
    "no description": hosting(scenarios=[{"scenario": "ES"}]),
    "a scenario twice": hosting("ES", "ES"),
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
def test_a_node_that_answers_something_else_is_left_out_and_named(answer: Answer, logged: list[str]) -> None:
    federation = shake({1: hosting("NL"), 2: answer, 3: hosting("ES")}, ["NL", "ES"])
    assert (federation.hosts, federation.absent) == ({"ES": 3, "NL": 1}, {})
    assert [line for line in logged if line.startswith("left out: node 2")] == logged


def test_with_a_quorum_a_run_starts_without_those_that_are_missing_when_the_time_is_over(logged: list[str]) -> None:
    answers: dict[int, Answer] = {
        1: hosting("NL", failed={"FR": "its rows are damaged"}),
        2: hosting("ES", version="9.9"),
        3: hosting(scenarios=[described("US"), described("IT", schema_hash="b" * 32)]),
        4: hosting(scenarios=[described("BE", train_positives=[0, 1])]),
    }
    expected = ["NL", "ES", "FR", "US", "IT", "BE"]
    federation = shake(answers, expected, quorum=2)
    assert federation.hosts == {"NL": 1, "US": 3}
    assert list(federation.absent) == ["BE", "ES", "FR", "IT"]
    assert federation.absent["FR"] == "node 1: its rows are damaged"
    assert federation.absent["ES"] == "it is hosted by no node"
    assert "scenarios BE and IT were prepared with different schemas" in federation.absent["IT"]
    assert "one class only" in federation.absent["BE"]
    assert "scenario ES takes no part: it is hosted by no node" in logged
    with pytest.raises(UserError, match=r"^scenarios BE and IT were prepared with different schemas"):
        shake(answers, expected, quorum=3)


def test_a_scenario_that_two_nodes_host_is_left_out_and_their_others_take_part(logged: list[str]) -> None:
    answers: dict[int, Answer] = {4: hosting("NL", "FR"), 5: hosting("US", "NL"), 6: hosting("ES")}
    federation = shake(answers, ["NL", "FR", "US", "ES"], quorum=3)
    assert federation.hosts == {"ES": 6, "FR": 4, "US": 5}
    assert list(federation.absent) == ["NL"]
    assert federation.absent["NL"].startswith(
        "scenario NL is hosted by nodes 4 and 5, and nothing tells which is right"
    )
    waiting = [line for line in logged if line.endswith("; waiting for one of them to go")]
    assert len(waiting) == 1
    assert f"scenario NL takes no part: {federation.absent['NL']}" in logged
    with pytest.raises(UserError, match=r"^scenario NL is hosted by nodes 4 and 5, .*`pfmsmtrec deploy init` does$"):
        shake(answers, ["NL", "FR", "US", "ES"], quorum=4)
    assert shake(answers, ["FR", "US", "ES"]).absent == {}  # strangers may quarrel


def test_a_node_that_comes_first_is_believed_no_more_than_one_that_comes_while_others_are_waited_for() -> None:
    answers: dict[int, Answer] = {4: hosting("NL"), 5: hosting("NL"), 6: hosting("ES")}
    federation = shake(answers, ["NL", "ES"], quorum=1, late={5: 2, 6: 4})
    assert (federation.hosts, list(federation.absent)) == ({"ES": 6}, ["NL"])


def test_a_dispute_ends_when_all_but_one_have_gone() -> None:
    answers: dict[int, Answer] = {4: hosting("NL"), 5: hosting("NL"), 6: hosting("ES")}
    federation = shake(answers, ["NL", "ES"], late={6: 1}, gone={4: 3})
    assert (federation.hosts, federation.absent) == ({"ES": 6, "NL": 5}, {})


def test_a_silent_node_is_left_out_and_asked_once(logged: list[str]) -> None:
    grid = FakeGrid({4: "", 5: hosting("NL")}, late={5: 2})
    assert shake_over(grid, ["NL"]).hosts == {"NL": 5}
    assert grid.asked == [4, 5]
    assert logged == ["left out: node 4 did not answer within 1 s"]


def test_a_node_leaves_out_what_it_cannot_open(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: RunConfig, context: Context, name: str) -> ScenarioStore:
        if name == "NL":
            raise ZeroDivisionError("a defect")
        return open_hosted_scenario(config, context, name)

    monkeypatch.setattr(node, "open_hosted_scenario", broken)
    answered = say_hello(tiny, scenarios="NL,XX,US")
    assert [each["scenario"] for each in answered["scenarios"]] == ["US"]
    assert answered["failed"]["NL"] == "scenario NL: ZeroDivisionError: a defect"
    assert re.match(r"scenario XX is not in .*, which has ES, FR, NL, US$", answered["failed"]["XX"])


def test_a_mistake_outside_what_takes_part_does_not_matter() -> None:
    odd = described("XX", schema_hash="b" * 32, train_positives=[0, 0])
    assert list(shake({1: hosting("NL"), 2: hosting(scenarios=[odd])}, ["NL"]).scenarios) == ["NL"]


def say_hello(tiny: Tiny, change: Callable[[RecordDict], None] = lambda _: None, **node_config: Any) -> dict[str, Any]:
    config = tiny.config(federation__scenarios=[])
    content = RecordDict({"order": Order(config.model_dump_json(), "alone", 0, 0).pack()})
    change(content)
    context = Context(
        run_id=1, node_id=2, node_config={"data": str(tiny.root), **node_config}, state=RecordDict(), run_config={}
    )
    answer = node.hello(content, context).config_records["hello"]["hello"]
    return dict(json.loads(str(answer)))


def test_a_node_describes_what_it_hosts(tiny: Tiny) -> None:
    answered = say_hello(tiny, scenarios="NL")
    assert (answered["error"], answered["partitions"], len(answered["scenarios"])) == ("", 0, 1)
    described = answered["scenarios"][0]
    assert described["examples"] == {"train": 96, "validation": 40, "test": 30}
    assert described["rows"] == [12, 4, 1]  # the third field's table is local: its size stays
    assert described["federated"] == [True, True, False]
    assert (described["used_rows"], described["used_positives"]) == (96, described["train_positives"])


def test_a_node_tells_the_labels_of_the_rows_that_are_used(tiny: Tiny) -> None:
    store = ScenarioStore.open(tiny.root / "tiny" / "NL")
    config = tiny.config(data__train_fraction=0.25)
    described = describe(store, config)
    rows = training_rows(store, config)
    assert (described.examples["train"], described.used_rows) == (96, 24)
    assert described.used_positives == [int(task.sum()) for task in rows.labels.T]
    assert described.used_positives < described.train_positives


def test_a_node_says_in_one_line_why_it_cannot_take_part(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "scenario XX is not in " in say_hello(tiny, scenarios="XX")["failed"]["XX"]

    def newer(content: RecordDict) -> None:
        order = json.loads(tiny.config().model_dump_json())
        order["train"]["unheard_of"] = 1
        content["order"] = Order(json.dumps(order), "alone", 0, 0).pack()

    assert "'train.unheard_of'" in say_hello(tiny, newer)["error"]
    monkeypatch.setattr(protocol, "PROTOCOL_VERSION", 2)

    def old(content: RecordDict) -> None:
        content.config_records["order"]["version"] = 1

    assert "got a message of protocol version 1, this client speaks 2" in say_hello(tiny, old)["error"]
