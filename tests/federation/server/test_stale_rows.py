from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from federated import Tiny, same
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st
from replies import TABLE, aggregate, ask, moved, strategy_of
from safetensors.torch import load_file

from pfmsmtrec_flwr.aggregation.table_checksum import table_checksum
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.protocol import TRAIN, VALIDATE, Incoming, Stage, unpack_orders
from pfmsmtrec_flwr.federation.server import stale_rows
from pfmsmtrec_flwr.federation.server.result import FederationResult
from pfmsmtrec_flwr.federation.server.stale_rows import StaleRows
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.methods import federated_method


def incoming_by_node(strategy: ScenarioStrategy) -> list[Incoming]:
    return [unpack_orders(message.content)[1] for message in ask(strategy)]


@pytest.mark.usefixtures("flower_run")
def test_a_common_table_goes_down_as_the_rows_in_which_a_copy_differs(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg-rows", model__embedding_dim=8))
    for incoming in incoming_by_node(strategy):
        assert TABLE in incoming.common
        assert not incoming.common_changes
    aggregate(strategy)
    table = strategy.parameters.common[TABLE]
    # Row 1 is a mean over all. Rows 2, 3 and 4 were changed by A, B and C alone, and each of them has its own already.
    for incoming, rows in zip(incoming_by_node(strategy), ([1, 2, 3, 4], [1, 2, 4]), strict=True):
        assert TABLE not in incoming.common
        assert incoming.common_changes[TABLE].rows.tolist() == rows
        assert torch.equal(incoming.common_changes[TABLE].values, table[rows])


@pytest.mark.usefixtures("flower_run")
def test_scenarios_with_tables_of_their_own_receive_rows_of_their_own(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(model__embedding_dim=8))
    aggregate(strategy)
    first, second = incoming_by_node(strategy)
    for incoming, name, rows in ((first, "A", [1, 3, 4]), (second, "B", [1, 2, 4]), (first, "C", [1, 2, 3])):
        assert TABLE not in incoming.personal[name]
        assert incoming.personal_changes[name][TABLE].rows.tolist() == rows


@pytest.mark.usefixtures("flower_run")
def test_a_table_goes_down_whole_where_its_rows_would_take_more(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg-rows", model__embedding_dim=2))
    aggregate(strategy)
    first, second = incoming_by_node(strategy)
    assert (list(first.common_changes), list(second.common_changes)) == ([], [TABLE])  # 12 and 9 numbers for 10
    assert torch.equal(first.common[TABLE], strategy.parameters.common[TABLE])


@pytest.mark.usefixtures("flower_run")
@pytest.mark.parametrize("method", ["fedavg-rows", "pf-msmtrec"])
def test_a_scenario_whose_update_did_not_count_receives_whole_tables(tiny: Tiny, method: str) -> None:
    strategy = strategy_of(tiny.config(method, model__embedding_dim=8, federation__min_scenarios=2))
    for failing in ("B", ""):
        replies = [moved(strategy, message, B={"error": failing}) for message in ask(strategy)]
        strategy.aggregate_train(1, replies)
        first, second = incoming_by_node(strategy)
        assert not {TABLE} & {*first.common, *first.personal["A"], *first.personal["C"]}
        assert (TABLE in second.common | second.personal["B"]) == bool(failing)


@pytest.mark.usefixtures("flower_run")
def test_messages_have_the_checksum_of_each_scenarios_table(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(model__embedding_dim=8))
    aggregate(strategy, steps={"A": 0.1, "B": 0.2, "C": -0.3})  # A and B agree, C opposes them
    found: dict[str, torch.Tensor | None] = {}
    for incoming in incoming_by_node(strategy):
        found |= {name: own[TABLE].checksum for name, own in incoming.personal_changes.items()}
    assert found == {name: table_checksum(own[TABLE]) for name, own in strategy.parameters.personal.items()}
    assert len({int(checksum) for checksum in found.values() if checksum is not None}) == 2


@pytest.mark.usefixtures("flower_run")
def test_the_checksum_of_a_common_table_follows_its_changes(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = strategy_of(tiny.config("fedavg-rows", model__embedding_dim=8))
    passes: list[torch.Tensor] = []

    def counted(table: torch.Tensor) -> torch.Tensor:
        passes.append(table)
        return table_checksum(table)

    monkeypatch.setattr(stale_rows, "table_checksum", counted)
    for exchange in range(4):
        aggregate(strategy, steps={"A": 0.1 + exchange, "B": 0.2, "C": -0.3})
        for incoming in incoming_by_node(strategy):
            found = incoming.common_changes[TABLE].checksum
            assert found is not None
            assert torch.equal(found, table_checksum(strategy.parameters.common[TABLE]))
    assert len(passes) == 1
    strategy.parameters.common[TABLE] = torch.zeros_like(strategy.parameters.common[TABLE])  # not by an aggregation
    for incoming in incoming_by_node(strategy):
        found = incoming.common_changes[TABLE].checksum
        assert found is not None
        assert torch.equal(found, table_checksum(strategy.parameters.common[TABLE]))


@pytest.mark.usefixtures("flower_run")
def test_what_a_method_sets_goes_down_as_rows_too(tiny: Tiny) -> None:
    """A method of one's own may set a scenario's table, before or after the others were averaged."""
    strategy = strategy_of(tiny.config(model__embedding_dim=8))
    averaged = strategy.aggregate

    def aggregate_and_set(stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        averaged(stage, updates)
        own = strategy.parameters.personal["B"]
        own[TABLE] = own[TABLE].index_fill(0, torch.tensor([0]), 5.0)
        for update in updates:  # what was sent stays what it was
            assert not (update.start[TABLE] == 5.0).any()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(strategy, "aggregate", aggregate_and_set)
        aggregate(strategy)
    first, second = incoming_by_node(strategy)
    assert second.personal_changes["B"][TABLE].rows.tolist() == [0, 1, 2, 4]
    assert second.personal_changes["B"][TABLE].values[0].tolist() == [5.0] * 8
    assert first.personal_changes["A"][TABLE].rows.tolist() == [1, 3, 4]


Faults = Mapping[tuple[int, str], str]
"""What happens to a node in an exchange, by number of the exchange and first scenario of the node."""


class Unreliable(InProcessGrid):
    """Loses messages, replies and the files of scenarios, and breaks off after some exchanges."""

    def __init__(
        self, app: ClientApp, contexts: Mapping[int, Context], faults: Faults, clients: Path, last: int | None = None
    ) -> None:
        super().__init__(app, contexts)
        self.faults, self.clients, self.last = faults, clients, last
        self.changed = 0
        self.repeated = 0
        self._seen: set[tuple[int, str]] = set()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        replies = []
        for message in messages:
            if message.metadata.message_type not in (TRAIN, VALIDATE):
                replies += super().send_and_receive([message], timeout=timeout)
                continue
            order, incoming, names = unpack_orders(message.content)
            if self.last is not None and order.exchange > self.last:
                raise InterruptedError
            again = (order.exchange, names[0]) in self._seen
            self._seen.add((order.exchange, names[0]))
            self.repeated += again
            self.changed += bool(incoming.common_changes) + any(incoming.personal_changes.values())
            fault = "" if again else self.faults.get((order.exchange, names[0]), "")
            if fault in ("all files are lost", "the last file is lost"):
                self._lose(names, every=fault.startswith("all"))
            if fault == "the message is lost":
                replies.append(Message(Error(8, fault), reply_to=message))
                continue
            (reply,) = super().send_and_receive([message], timeout=timeout)
            replies.append(Message(Error(8, fault), reply_to=message) if fault == "the reply is lost" else reply)
        return replies

    def _lose(self, scenarios: Iterable[str], *, every: bool) -> None:
        for scenario in scenarios:
            files = list((self.clients / scenario).glob("state-*.safetensors"))
            files.sort(key=lambda file: int(file.stem.partition("-")[2]))
            for file in files if every else files[-1:]:
                file.unlink()


@dataclass
class Run:
    """A run over an unreliable grid."""

    grid: Unreliable
    result: FederationResult
    models: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


def run_with(tiny: Tiny, config: RunConfig, faults: Faults, output: Path, broken_off: int | None) -> Run:
    from client_app import app

    contexts = simulated_contexts(7, 2, {"output": str(output), "data": str(tiny.root)})
    clients = output / "clients" / config.method
    with run_identity(7):
        if broken_off is not None:
            with pytest.raises(InterruptedError):
                federated_method(config.method).strategy(config).start(
                    Unreliable(app, contexts, {}, clients, broken_off)
                )
        grid = Unreliable(app, contexts, faults, clients)
        result = federated_method(config.method).strategy(config).start(grid)
    models = {file.parent.name: load_file(file) for file in clients.glob("*/model.safetensors")}
    return Run(grid, result, models)


METHODS: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedper": {"train__optimizer_state": "keep", "train__ema_decay": 0.5},
    "pf-msmtrec": {"train__weight_decay": 0.1},
    "bottom-up": {"pf_msmtrec__schedule": "bottom-up", "train__optimizer_state": "keep"},
}
FAULTS = ("the message is lost", "the reply is lost", "all files are lost", "the last file is lost")
ROUNDS = 3


@pytest.mark.slow
@settings(max_examples=8)
@given(
    name=st.sampled_from(sorted(METHODS)),
    faults=st.dictionaries(
        st.tuples(st.integers(1, 2 * ROUNDS + 1), st.just("ES")), st.sampled_from(FAULTS), max_size=4
    ),
    broken_off=st.none() | st.integers(1, ROUNDS),
)
def test_changed_rows_and_whole_tables_are_the_same_run(
    tiny: Tiny, name: str, faults: Faults, broken_off: int | None
) -> None:
    """Whatever is lost on the way, parameters and figures are the same to the bit.

    ES and US live on one node, FR on the other, which answers always: a round needs a scenario.
    """
    method = "pf-msmtrec" if name == "bottom-up" else name
    config = tiny.config(
        method,
        model__embedding_dim=4,
        federation__rounds=ROUNDS,
        federation__scenarios=["ES", "FR", "US"],
        federation__min_scenarios=1,
        train__max_local_steps=1,
        train__batch_size=4,
        **METHODS[name],
    )
    with TemporaryDirectory() as folder:
        rows = run_with(tiny, config, faults, Path(folder) / "rows", broken_off)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(StaleRows, "note", lambda *_: None)
            whole = run_with(tiny, config, faults, Path(folder) / "whole", broken_off)
    assert rows.grid.changed > whole.grid.changed == 0
    assert rows.grid.repeated == whole.grid.repeated == 0  # the server knows the copies
    assert same(rows.models, whole.models)
    assert rows.result.test == whole.result.test
    for one, other in zip(rows.result.rounds, whole.result.rounds, strict=True):
        assert (one.losses, one.validation, one.gates) == (other.losses, other.validation, other.gates)
    consensus = {key: array.numpy().tobytes() for key, array in whole.result.arrays.items()}
    assert {key: array.numpy().tobytes() for key, array in rows.result.arrays.items()} == consensus


@pytest.mark.parametrize("fault", ["all files are lost", "the last file is lost"])
@pytest.mark.parametrize("method", ["fedper", "pf-msmtrec"])
def test_a_node_that_lost_its_files_says_so_and_does_not_start_anew(
    tiny: Tiny, tmp_path: Path, method: str, fault: str, logged: list[str]
) -> None:
    config = tiny.config(method, model__embedding_dim=4, train__max_local_steps=1, train__batch_size=4)
    gone = "the memory of scenario US after exchange 1 is gone"
    with pytest.raises(UserError, match=f"round 2: nothing usable from US.*{gone}"):
        run_with(tiny, config, {(2, "US"): fault}, tmp_path / "strict", None)
    quorum = config.with_settings({"federation.min_scenarios": 1}, "test")
    run = run_with(tiny, quorum, {(2, "US"): fault}, tmp_path / "quorum", None)
    assert any(line.startswith(f"round 2 goes on without US: {gone}") for line in logged)
    assert set(run.result.rounds[1].losses) == {"FR"}


@pytest.mark.parametrize("fault", ["the message is lost", "the reply is lost"])
@pytest.mark.parametrize(("name", "precision"), [("pf-msmtrec", "half"), ("bottom-up", "int8"), ("fedper", "int8")])
def test_in_low_precision_the_server_knows_the_copies(
    tiny: Tiny, tmp_path: Path, name: str, precision: str, fault: str
) -> None:
    config = tiny.config(
        "pf-msmtrec" if name == "bottom-up" else name,
        model__embedding_dim=4,
        federation__rounds=4,
        federation__scenarios=["ES", "FR", "US"],
        federation__min_scenarios=1,
        federation__precision=precision,
        train__max_local_steps=1,
        train__batch_size=4,
        **METHODS[name],
    )
    run = run_with(tiny, config, {(2, "ES"): fault}, tmp_path, None)
    assert run.grid.changed
    assert run.grid.repeated == 0
    assert run.models.keys() == {"ES", "FR", "US"}
    full = config.with_settings({"federation.precision": "full"}, "test")
    other = run_with(tiny, full, {(2, "ES"): fault}, tmp_path / "full", None)
    for one, two in zip(run.result.rounds, other.result.rounds, strict=True):
        assert one.losses == pytest.approx(two.losses, abs=0.01)
