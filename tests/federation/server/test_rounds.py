from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from federated import RecordingGrid, Tiny
from flwr.app import Error, Message
from flwr.serverapp import Grid
from torch import Tensor

from client_app import app
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import results_of
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, simulated_contexts
from pfmsmtrec_flwr.federation.protocol import TEST, TRAIN, VALIDATE, unpack_orders
from pfmsmtrec_flwr.federation.server.parameters import initial_parameters
from pfmsmtrec_flwr.methods import METHODS, FederatedMethod, federated_method, find_method
from pfmsmtrec_flwr.results.compact import compact_run_tables
from pfmsmtrec_flwr.results.missing import MissingResult
from pfmsmtrec_flwr.results.overviews import run_table
from pfmsmtrec_flwr.results.predictions import load_predictions
from pfmsmtrec_flwr.results.writer import read_results, write_results
from pfmsmtrec_flwr.training.draws import drawn_auc

pytestmark = pytest.mark.usefixtures("flower_run")


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

    def get_node_ids(self) -> list[int]:
        return list(self.grid.get_node_ids())

    set_run = run = create_message = push_messages = pull_messages = None  # type: ignore[assignment]


def test_a_run_ends_well_without_a_scenario_that_never_answers(tiny: Tiny, tmp_path: Any) -> None:
    config = tiny.config(federation__min_scenarios=1)
    contexts = simulated_contexts(1, 2, {"output": str(tmp_path), "data": str(tiny.root)})
    inner = RecordingGrid(app, contexts)
    grid = Losing(inner, lost=2)
    result = federated_method("pf-msmtrec").strategy(config).start(grid)
    assert list(result.test) == list(result.draws) == ["FR"]
    assert result.selected.keys() == {"FR"}
    assert [list(record.validation) for record in result.rounds] == [["FR"], ["FR"]]


class Forgetful(Losing):
    """Carries messages, and knows which of them are still held, replies included."""

    def __init__(self, grid: Any) -> None:
        super().__init__(grid, lost=0)
        self.carried: list[ref[Message]] = []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        messages = list(messages)
        replies = super().send_and_receive(messages, timeout=timeout)
        self.carried += [ref(message) for message in (*messages, *replies)]
        return replies


def test_no_message_is_held_while_updates_are_aggregated(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = simulated_contexts(1, 2, {"output": str(tmp_path), "data": str(tiny.root)})
    grid = Forgetful(InProcessGrid(app, contexts))
    strategy = federated_method("pf-msmtrec").strategy(tiny.config(federation__rounds=2))
    aggregate = strategy.aggregate
    carried: list[int] = []
    held: list[int] = []

    def observed(*step: Any) -> None:
        carried.append(len(grid.carried))
        held.append(sum(message() is not None for message in grid.carried))
        aggregate(*step)

    monkeypatch.setattr(strategy, "aggregate", observed)
    strategy.start(grid)
    assert (carried, held) == ([8, 12], [0, 0])  # two nodes: handshake and two rounds


class Failing(Losing):
    """Carries messages; in some exchanges a node's answer is an error, as often as the exchange's number says."""

    def __init__(self, grid: Any, node: int, exchanges: dict[int, int], kinds: tuple[str, ...] = (TRAIN,)) -> None:
        super().__init__(grid, node)
        self.exchanges, self.kinds = exchanges, kinds

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [self._answer(message, timeout) for message in messages]

    def _answer(self, message: Message, timeout: float | None) -> Message:
        (reply,) = self.grid.send_and_receive([message], timeout=timeout)
        metadata = message.metadata
        if metadata.dst_node_id == self.lost and metadata.message_type in self.kinds:
            number = unpack_orders(message.content)[0].exchange
            if self.exchanges.get(number, 0) > 0:
                self.exchanges[number] -= 1
                return Message(Error(5, "the node is away"), reply_to=message)
        return reply  # type: ignore[no-any-return]


def run_over(tiny: Tiny, output: Path, config: RunConfig, grid: Callable[[Any], Grid]) -> tuple[Any, Any, Any]:
    inner = RecordingGrid(app, simulated_contexts(1, 2, {"output": str(output), "data": str(tiny.root)}))
    strategy = federated_method(config.method).strategy(config)
    return strategy.start(grid(inner)), strategy, inner


def test_below_the_quorum_only_those_without_a_reply_are_asked_again_and_the_run_is_the_same(
    tiny: Tiny, tmp_path: Path, logged: list[str]
) -> None:
    config = tiny.config(federation__retries=2)
    plain = tiny.trained(config)
    result, strategy, inner = run_over(tiny, tmp_path, config, lambda grid: Failing(grid, 2, {1: 2, 2: 1}))
    asked = [unpack_orders(message.content) for message in inner.sent if message.metadata.message_type == TRAIN]
    assert [(order.exchange, names) for order, _, names in asked] == [
        *((1, [name]) for name in ("FR", "US", "US", "US")),
        *((2, [name]) for name in ("FR", "US", "US")),
    ]
    assert "round 1: nothing usable from US, 2 scenarios are needed: the node is away: asking again, 1 of 2" in logged
    assert result.test == plain.result.test
    assert all(torch.equal(one, other) for one, other in tensors_of(strategy, plain.strategy))
    assert [record.missing for record in result.rounds] == [set(), set()]


def tensors_of(one: Any, other: Any) -> Iterator[tuple[Tensor, Tensor]]:
    for name, own in one.parameters.personal.items():
        yield from ((tensor, other.parameters.personal[name][key]) for key, tensor in own.items())


def test_too_few_answers_in_the_end_leave_the_models_as_they_were(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(federation__rounds=1, federation__retries=1)
    strategy = federated_method("pf-msmtrec").strategy(config)
    inner = RecordingGrid(app, simulated_contexts(1, 2, {"output": str(tmp_path), "data": str(tiny.root)}))
    with pytest.raises(UserError, match=r"^round 1: nothing usable from US, .*: the node is away \(asked 2 times; no"):
        strategy.start(Failing(inner, 2, {1: 9}))
    started = initial_parameters(config, strategy.sharing, strategy.federation.scenarios)
    assert all(torch.equal(one, other) for one, other in tensors_of(strategy, SimpleNamespace(parameters=started)))


def test_a_scenario_that_misses_a_round_is_named_and_comes_back(tiny: Tiny, tmp_path: Path, logged: list[str]) -> None:
    config = tiny.config(federation__rounds=4, federation__min_scenarios=1)
    result, _, _ = run_over(tiny, tmp_path, config, lambda grid: Failing(grid, 2, {2: 1, 3: 1}))
    assert [record.missing for record in result.rounds] == [set(), {"US"}, {"US"}, set()]
    assert [record.unmeasured for record in result.rounds] == [{"US"}, {"US"}, set(), set()]
    assert result.test.keys() == {"FR", "US"}
    assert any(line.startswith("round 1 of 4: mean validation AUC") and line.endswith(" over FR") for line in logged)
    results = results_of(find_method("pf-msmtrec"), config, result)
    assert results.missing == {"US": MissingResult(rounds=[2, 3], tested=True)}
    assert "pf-msmtrec: US missed rounds 2 to 3 of 4" in run_table([results]).notes
    assert "note" not in results.model_dump()["macro"]["click"]


def test_a_scenario_that_stays_away_is_named_beside_the_means(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(federation__min_scenarios=1)
    away = {2: 9, 3: 9, 4: 9}
    kinds = (TRAIN, VALIDATE, TEST)
    result, _, _ = run_over(tiny, tmp_path, config, lambda grid: Failing(grid, 2, away, kinds))
    results = results_of(find_method("pf-msmtrec"), config, result)
    assert results.missing == {"US": MissingResult(rounds=[2], since=2, tested=False)}
    assert results.macro["click"].note == "over FR, without US"
    table = run_table([results])
    assert "pf-msmtrec: US missing since round 2 of 2, without test figures" in table.notes
    assert "pf-msmtrec: means over FR, without US" in table.notes
    assert next(compact_run_tables([results])).rows[0][0].text == "pf-msmtrec (1 of 2 scenarios)"
    assert read_results(write_results(results, tmp_path).parent) == results


class Unsteady(Losing):
    """Carries messages; half of those to train or to measure fail at random."""

    def __init__(self, grid: Any, seed: int) -> None:
        super().__init__(grid, 0)
        self.generator = np.random.default_rng(seed)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        fails = [
            message.metadata.message_type in (TRAIN, VALIDATE) and self.generator.random() < 0.5 for message in messages
        ]
        sent = [message for message, failing in zip(messages, fails, strict=True) if not failing]
        return list(self.grid.send_and_receive(sent, timeout=timeout))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name, own in METHODS.items() if isinstance(own, FederatedMethod)))
def test_every_method_ends_well_where_half_of_the_scenarios_fail_in_every_round(
    tiny: Tiny, tmp_path: Path, name: str
) -> None:
    scenarios = ["ES", "FR", "NL", "US"]
    short = {"train__max_local_steps": 2, "federation__rounds": 3, "federation__scenarios": scenarios}
    config = tiny.config(name, federation__min_scenarios=1, federation__retries=20, **short)
    inner = RecordingGrid(app, simulated_contexts(1, 4, {"output": str(tmp_path), "data": str(tiny.root)}))
    result = federated_method(name).strategy(config).start(Unsteady(inner, seed=3))
    assert len(result.rounds) == 3
    assert any(record.missing for record in result.rounds)
    assert sorted(result.test) == sorted(result.selected)
    assert all(np.isfinite(array.numpy()).all() for array in result.arrays.values())


@pytest.mark.parametrize("draws", [0, 7])
def test_scenarios_measure_as_many_draws_of_their_predictions_as_configured(tiny: Tiny, draws: int) -> None:
    config = tiny.config("fedbn", federation__draws=draws)
    run = tiny.trained(config)
    if not draws:
        assert run.result.draws == {}
        return
    assert list(run.result.draws) == ["FR", "US"]
    for name, drawn in run.result.draws.items():
        store = ScenarioStore.open(tiny.root / "tiny" / name)
        predictions = load_predictions(run.folder / name / "predictions.npy")
        assert predictions is not None
        expected = drawn_auc(store, predictions, draws)
        assert drawn.keys() == expected.keys() == {"click", "like"}
        for task, auc in drawn.items():
            np.testing.assert_array_equal(auc, expected[task])
