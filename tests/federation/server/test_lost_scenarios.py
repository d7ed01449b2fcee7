"""A SuperNode that was started again under another id, and those that only say that they are one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from federated import RecordingGrid, Tiny, same
from flwr.app import Context, Error, Message
from safetensors.torch import load_file

from client_app import app
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import results_of
from pfmsmtrec_flwr.federation.inprocess import simulated_contexts
from pfmsmtrec_flwr.federation.protocol import HELLO, TEST, TRAIN, VALIDATE, unpack_orders
from pfmsmtrec_flwr.methods import federated_method, find_method
from pfmsmtrec_flwr.results.missing import MissingResult

pytestmark = pytest.mark.usefixtures("flower_run")

KINDS = {TRAIN: "train", VALIDATE: "validate", TEST: "test"}


class Restarting(RecordingGrid):
    """Node 2, which hosts US, goes away at an exchange; nodes with other ids are there some exchanges later.

    Parameters
    ----------
    goes, comes
        Exchange by number at which node 2 goes, and before which the others come.
    others
        What is changed in the description of US by each of the nodes that come.
    """

    def __init__(self, contexts: dict[int, Context], goes: int, comes: int, others: dict[int, dict[str, Any]]) -> None:
        own = contexts[2]
        super().__init__(app, contexts | {node: _moved(own, node) for node in others})
        self.goes, self.comes, self.others = goes, comes, others
        self.exchange = 0
        self.looks = 0
        self.seen: list[tuple[str, int]] = []

    def get_node_ids(self) -> list[int]:
        self.looks += 1
        # An exchange that is over has shown that the node is gone; the one that it is missing from has not begun.
        stays, there = self.exchange < self.goes, self.exchange + 1 >= self.comes
        return [1, *([2] if stays else []), *(self.others if there else [])]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [self._answer(message, timeout) for message in list(messages)]

    def _answer(self, message: Message, timeout: float | None) -> Message:
        metadata = message.metadata
        self.seen.append((metadata.message_type, metadata.dst_node_id))
        if metadata.message_type != HELLO:
            self.exchange = unpack_orders(message.content)[0].exchange
        if metadata.dst_node_id == 2 and self.exchange >= self.goes:
            return Message(Error(5, "the node is away"), reply_to=message)
        (reply,) = super().send_and_receive([message], timeout=timeout)
        if metadata.message_type == HELLO and (changes := self.others.get(metadata.dst_node_id)):
            record = reply.content.config_records["hello"]
            document = json.loads(str(record["hello"]))
            document["scenarios"][0] |= changes
            record["hello"] = json.dumps(document)
        return reply

    def asked(self, node: int) -> list[str]:
        return [KINDS.get(kind, kind) for kind, number in self.seen if number == node]


def _moved(context: Context, node: int) -> Context:
    return Context(context.run_id, node, context.node_config, context.state, context.run_config)


def run(
    tiny: Tiny,
    output: Path,
    config: RunConfig,
    goes: int = 2,
    comes: int = 3,
    others: dict[int, dict[str, Any]] | None = None,
) -> tuple[Any, Restarting]:
    contexts = simulated_contexts(1, 2, {"output": str(output), "data": str(tiny.root)})
    grid = Restarting(contexts, goes, comes, {3: {}} if others is None else others)
    return federated_method(config.method).strategy(config).start(grid), grid


def test_a_node_under_another_id_brings_its_scenario_back(tiny: Tiny, tmp_path: Path, logged: list[str]) -> None:
    config = tiny.config(federation__rounds=4, federation__min_scenarios=1)
    result, grid = run(tiny, tmp_path, config, goes=2, comes=4)
    assert grid.asked(2) == [HELLO, "train", "train", "train"]
    assert grid.asked(3) == [HELLO, "train", "validate", "test"]
    assert "scenario US is hosted by node 3 now" in logged
    assert [record.missing for record in result.rounds] == [set(), {"US"}, {"US"}, set()]
    assert result.test.keys() == {"FR", "US"}
    results = results_of(find_method("pf-msmtrec"), config, result)
    assert results.missing == {"US": MissingResult(rounds=[2, 3], tested=True)}


def test_where_all_are_needed_the_run_goes_on_with_the_new_node_and_is_the_same_to_the_bit(
    tiny: Tiny, tmp_path: Path
) -> None:
    config = tiny.config()
    plain = tiny.trained(config)
    result, grid = run(tiny, tmp_path, config, goes=2, comes=3)
    assert grid.asked(3) == [HELLO, "train", "validate", "test"]
    assert result.test == plain.result.test
    assert [record.missing for record in result.rounds] == [set(), set()]
    folders = (tmp_path / "clients" / "pf-msmtrec").iterdir()
    assert same({folder.name: load_file(folder / "model.safetensors") for folder in folders}, plain.models)


@pytest.mark.parametrize(("goes", "kinds"), [(3, ["validate", "test"]), (4, ["test"])])
def test_the_last_two_exchanges_find_the_new_node_too(tiny: Tiny, tmp_path: Path, goes: int, kinds: list[str]) -> None:
    result, grid = run(tiny, tmp_path, tiny.config(), goes=goes, comes=goes)
    assert grid.asked(3) == [HELLO, *kinds]
    assert result.test.keys() == {"FR", "US"}


def test_a_node_that_describes_the_scenario_otherwise_does_not_take_it_over(
    tiny: Tiny, tmp_path: Path, logged: list[str]
) -> None:
    config = tiny.config(federation__rounds=4, federation__min_scenarios=1)
    result, grid = run(tiny, tmp_path, config, others={3: {"used_rows": 40}, 4: {}})
    assert (grid.asked(3), grid.asked(4)) == ([HELLO], [HELLO, "train", "train", "validate", "test"])
    assert [line for line in logged if "another" in line] == [
        "left out: node 3 hosts scenario US with another used_rows than at the start"
    ]
    assert [record.missing for record in result.rounds] == [set(), {"US"}, set(), set()]


def test_two_nodes_that_say_the_same_get_nothing(tiny: Tiny, tmp_path: Path, logged: list[str]) -> None:
    config = tiny.config(federation__rounds=4, federation__min_scenarios=1)
    result, grid = run(tiny, tmp_path, config, others={3: {}, 4: {}})
    assert (grid.asked(3), grid.asked(4)) == ([HELLO], [HELLO])
    (said,) = (line for line in logged if "nothing tells which is right" in line)
    assert said.startswith("scenario US is hosted by nodes 3 and 4")
    assert result.test.keys() == {"FR"}


def test_nothing_is_looked_for_while_everybody_answers(tiny: Tiny, tmp_path: Path) -> None:
    _, grid = run(tiny, tmp_path, tiny.config(federation__rounds=3), goes=99, comes=2)
    assert grid.looks == 1
    assert grid.asked(3) == []


def test_a_run_that_needs_a_scenario_which_nobody_brings_back_ends(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(federation__node_timeout=0.01)
    with pytest.raises(UserError, match=r"^round 2: nothing usable from US, .*: the node is away \(asked 2 times; no"):
        run(tiny, tmp_path, config, others={})
