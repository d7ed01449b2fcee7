from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from federated import Tiny
from flwr.app import Context, RecordDict
from replies import unpack_replies

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.tables import Received
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.node import answer
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, pack_orders
from pfmsmtrec_flwr.methods import client_of, federated_method
from pfmsmtrec_flwr.model import Part, draw_parameters
from pfmsmtrec_flwr.training.description import describe

NOTHING = Incoming({}, {})


@pytest.fixture
def client(tiny: Tiny, tmp_path: Path) -> ScenarioClient:
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    return ScenarioClient(store, tiny.config(train__optimizer_state="keep"), LocalState(tmp_path / "US"))


def order_of(client: ScenarioClient, *parts: Part, **more: Any) -> Order:
    return Order(client.config.model_dump_json(), "pf-msmtrec", parts=parts, **{"round": 1, "exchange": 1, **more})


def test_an_order_for_a_private_part_is_refused_before_anything_happens(client: ScenarioClient) -> None:
    draw_parameters(client.model, 0)  # before the first order they are whatever memory held
    before = {name: tensor.clone() for name, tensor in client.model.state_dict().items()}
    with pytest.raises(UserError, match=r"asks for .*local embedding.*, which never leaves scenario US$"):
        client.train(order_of(client, Part.TOWER, Part.LOCAL_EMBEDDING), NOTHING)
    assert all(torch.equal(tensor, before[name]) for name, tensor in client.model.state_dict().items())
    assert not client.state.folder.exists()


def test_the_parts_that_are_asked_for_come_back_and_no_others(client: ScenarioClient) -> None:
    reply = client.train(order_of(client, Part.GATE), NOTHING)
    assert {client.slots[name].part for name in reply.parameters} == {Part.GATE}
    assert reply.rows == {}
    assert reply.figures["examples"] == 48
    rows = client.train(order_of(client, Part.FEDERATED_EMBEDDING, exchange=2), NOTHING)
    assert (list(rows.parameters), list(rows.rows)) == ([], ["federated_embeddings.weight"])


def test_counts_of_rows_are_sent_as_powers_of_two_where_the_run_says_so(tiny: Tiny, tmp_path: Path) -> None:
    counts = {}
    for form in ("exact", "powers"):
        config = tiny.config(privacy__row_counts=form)
        client = ScenarioClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(tmp_path / form))
        draw_parameters(client.model, 0)
        reply = client.train(order_of(client, Part.FEDERATED_EMBEDDING), NOTHING)
        counts[form] = reply.rows["federated_embeddings.weight"]
    exact, powers = counts["exact"], counts["powers"]
    assert torch.equal(exact.rows, powers.rows) and torch.equal(exact.values, powers.values)
    assert powers.counts.tolist() == [2 ** (count.bit_length() - 1) for count in exact.counts.tolist()]
    assert not torch.equal(exact.counts, powers.counts)


def test_parameters_that_do_not_fit_are_refused(client: ScenarioClient) -> None:
    name = next(name for name, slot in client.slots.items() if slot.part is Part.TOWER)
    for tensors, message in (
        ({name: torch.zeros(99)}, "expected torch.float32"),
        ({name: torch.full_like(client.model.state_dict()[name], float("nan"))}, "not finite"),
        ({"stranger": torch.zeros(1)}, "missing or unknown"),
    ):
        with pytest.raises(UserError, match=f"^scenario US: .*{message}"):
            client.train(order_of(client), Incoming({}, {"US": tensors}))


def test_a_diverging_training_is_said_in_one_line(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(train__lr=1e30)
    client = ScenarioClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(tmp_path / "US"))
    with pytest.raises(UserError, match=r"^scenario US, round 1: the training loss became .*: lower train.lr"):
        client.train(order_of(client), NOTHING)


def test_what_is_received_is_not_kept_twice(client: ScenarioClient) -> None:
    towers = {name: t.clone() for name, t in client.model.state_dict().items() if client.slots[name].part is Part.TOWER}
    client.train(order_of(client), Incoming({}, {"US": towers}))
    kept = client.state.load(1)
    assert kept.model.keys() == client.slots.keys() - towers.keys()
    assert not kept.average
    assert not kept.figures
    assert not kept.scopes
    assert all(moments.keys() == {"step", "exp_avg", "exp_avg_sq"} for moments in kept.optimizer.values())
    assert kept.optimizer[next(iter(towers))]["step"].item() == 3


def test_moments_that_are_reset_are_not_kept(tiny: Tiny, tmp_path: Path) -> None:
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    client = ScenarioClient(store, tiny.config(train__optimizer_state="reset"), LocalState(tmp_path / "US"))
    client.train(order_of(client), NOTHING)
    kept = client.state.load(1)
    assert kept.to_tensors().keys() == {f"model/{name}" for name in client.slots}


def test_training_goes_on_from_the_kept_state(client: ScenarioClient, tmp_path: Path) -> None:
    client.train(order_of(client), NOTHING)
    client.train(order_of(client, round=2, exchange=2), NOTHING)
    fresh = LocalState(tmp_path / "fresh")
    for number in (1, 2):  # as deployed: a new process for every message
        each = ScenarioClient(client.store, client.config, fresh)
        each.train(order_of(each, round=number, exchange=number), NOTHING)
    one, other = client.state.load(2).to_tensors(), fresh.load(2).to_tensors()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    name = "gates.of_task.click.weight"
    assert not torch.equal(one[f"model/{name}"], fresh.load(1).model[name])


def test_adagrads_sums_are_kept_and_change_the_next_round(tiny: Tiny, tmp_path: Path) -> None:
    ends = {}
    for kept in ("keep", "reset"):
        config = tiny.config(train__optimizer_state=kept, train__embedding_optimizer="adagrad")
        store = ScenarioStore.open(tiny.root / "tiny" / "US")
        client = ScenarioClient(store, config, LocalState(tmp_path / kept))
        for number in (1, 2):
            client.train(order_of(client, round=number, exchange=number), NOTHING)
        ends[kept] = client.state.load(2)
    table = "local_embeddings.weight"
    sums = {name for name, moments in ends["keep"].optimizer.items() if "sum" in moments}
    assert sums == {"federated_embeddings.weight", table}
    assert ends["keep"].optimizer[table]["step"].item() == 6
    assert not ends["reset"].optimizer
    assert not torch.equal(ends["keep"].model[table], ends["reset"].model[table])


def test_a_scenario_that_was_never_measured_cannot_be_tested(client: ScenarioClient) -> None:
    with pytest.raises(UserError, match=r"^the model of round 0 is not in "):
        client.test(order_of(client), NOTHING)


def test_a_deployed_node_trains_on_what_it_declared_alone(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(federation__scenarios=[])
    context = Context(
        run_id=1,
        node_id=2,
        node_config={"data": str(tiny.root), "state": str(tmp_path), "scenarios": "US"},
        state=RecordDict(),
        run_config={},
    )
    order = Order(config.model_dump_json(), "alone", 1, 1)
    content = pack_orders(order, NOTHING, ["NL", "US"])
    replies = unpack_replies(
        answer(content, context, client_of, lambda client, order, incoming: client.train(order, incoming))
    )
    assert replies["NL"].error == "scenario NL is not hosted by this node, which hosts US"
    assert replies["US"].error == ""
    assert [path.name for path in (tmp_path / "1" / "alone").iterdir()] == ["US"]


def test_a_methods_name_cannot_lead_out_of_the_state_folder(tiny: Tiny, tmp_path: Path) -> None:
    context = Context(
        run_id=1,
        node_id=2,
        node_config={"data": str(tiny.root), "state": str(tmp_path)},
        state=RecordDict(),
        run_config={},
    )
    order = Order(tiny.config().model_dump_json(), "../../x", 1, 1)
    reply = unpack_replies(
        answer(pack_orders(order, NOTHING, ["US"]), context, client_of, lambda *_: pytest.fail("called"))
    )
    assert "got the name '../../x'" in reply["US"].error


@pytest.mark.parametrize("fraction", [1.0, 0.3])
def test_server_and_scenario_start_at_the_same_base_rates(tiny: Tiny, tmp_path: Path, fraction: float) -> None:
    settings = {"pf_msmtrec__output_bias": "federated", "data__train_fraction": fraction}
    config = tiny.config(**settings)
    stores = {name: ScenarioStore.open(tiny.root / "tiny" / name) for name in ("FR", "US")}
    strategy = federated_method("pf-msmtrec").strategy(config)
    strategy.begin(Federation({name: describe(store, config) for name, store in stores.items()}, {"FR": 1, "US": 2}))
    for name, store in stores.items():
        rates = ScenarioClient(store, config, LocalState(tmp_path / name)).base_rates()
        assert rates.keys() == {"towers.of_task.click.4.bias", "towers.of_task.like.4.bias"}
        assert all(torch.equal(strategy.parameters.personal[name][key], value) for key, value in rates.items())
    single = federated_method("fedavg").strategy(tiny.config("fedavg", **settings))
    single.begin(Federation({"US": describe(stores["US"], config)}, {"US": 1}))
    assert all(torch.equal(single.parameters.common[key], value) for key, value in rates.items())


def test_an_output_bias_that_nobody_sends_starts_at_the_scenarios_rate(client: ScenarioClient) -> None:
    client._install(Received(NOTHING, {}), ClientMemory())
    state = client.model.state_dict()
    for task, positives in zip(client.store.tasks, client.store.positives("train"), strict=True):
        expected = math.log((positives + 0.5) / (48 - positives + 0.5))
        assert state[f"towers.of_task.{task}.4.bias"].tolist() == pytest.approx([expected])
    name = "towers.of_task.click.4.bias"
    client._install(Received(Incoming({name: torch.tensor([0.25])}, {}), {}), ClientMemory())
    assert client.model.state_dict()[name].tolist() == [0.25]


Evaluated = dict[tuple[str, int], dict[str, torch.Tensor]]
AVERAGED = [
    ("alone", {}),
    ("fedavg", {}),
    ("ditto", {}),
    ("apfl", {}),
    ("fedamp", {}),
    ("pf-msmtrec", {}),
    ("pf-msmtrec", {"pf_msmtrec__schedule": "bottom-up"}),
]


@pytest.mark.parametrize(("method", "own"), AVERAGED)
def test_the_mean_over_rounds_is_what_is_measured(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, own: dict[str, str]
) -> None:
    """Against a run without it, whose training is the same: only what is measured differs."""
    seen: Evaluated = {}
    save = LocalState.save_evaluated

    def watch(self: LocalState, number: int, tensors: Mapping[str, torch.Tensor], *more: Any) -> None:
        seen[self.folder.name, number] = {name: tensor.clone() for name, tensor in tensors.items()}
        save(self, number, tensors, *more)

    monkeypatch.setattr(LocalState, "save_evaluated", watch)
    settings = {"federation__rounds": 4, "train__reestimate_batch_norm": False, **own}
    plain = tiny.train(tiny.config(method, **settings), tmp_path / "plain")
    last, seen = seen, {}
    averaged = tiny.train(tiny.config(method, train__ema_decay=0.6, **settings), tmp_path / "averaged")
    assert last.keys() == seen.keys() == {(name, number) for name in ("FR", "US") for number in (1, 2, 3, 4)}
    for name in ("FR", "US"):
        mean = last[name, 1]
        for number, share in ((1, 0.0), (2, 0.5), (3, 0.6), (4, 0.6)):
            mean = {
                key: share * mean[key] + (1 - share) * value if value.is_floating_point() else value
                for key, value in last[name, number].items()
            }
            torch.testing.assert_close(seen[name, number], mean)
        best = averaged.result.selected[name]
        assert all(torch.equal(averaged.models[name][key], value) for key, value in seen[name, best].items())
    assert [record.losses for record in plain.result.rounds] == [record.losses for record in averaged.result.rounds]
    assert plain.result.rounds[0].validation == averaged.result.rounds[0].validation
    assert plain.result.rounds[3].validation != averaged.result.rounds[3].validation


@pytest.fixture
def averaging(tiny: Tiny, tmp_path: Path) -> Callable[[], ScenarioClient]:
    """A scenario of which every message starts a new process, as deployed."""
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    config = tiny.config(train__ema_decay=0.6)
    return lambda: ScenarioClient(store, config, LocalState(tmp_path / "averaging"))


def test_the_mean_is_kept_beside_the_model_from_the_first_measurement_on(
    averaging: Callable[[], ScenarioClient],
) -> None:
    first = averaging()
    first.train(order_of(first), NOTHING)
    left = first.state.load(1)
    assert left.model.keys() == first.slots.keys()
    assert not left.average  # no round has ended yet
    second = averaging()
    second.train(order_of(second, round=2, exchange=2, evaluate=True), NOTHING)
    kept = second.state.load(2)
    assert kept.model.keys() == kept.average.keys() == second.slots.keys()
    assert all(torch.equal(kept.average[name], left.model[name]) for name in second.slots)


def test_an_exchange_that_is_repeated_counts_once(averaging: Callable[[], ScenarioClient]) -> None:
    for number in (1, 2):
        client = averaging()
        client.train(order_of(client, round=number, exchange=number, evaluate=number > 1), NOTHING)
    replies, states = [], []
    for _ in range(2):
        client = averaging()
        replies.append(client.train(order_of(client, round=3, exchange=3, evaluate=True), NOTHING))
        states.append(client.state.load(3))
    assert replies[0].figures | {"seconds": 0.0} == replies[1].figures | {"seconds": 0.0}
    once, again = (state.to_tensors() for state in states)
    assert all(torch.equal(once[name], value) for name, value in again.items())
    before = client.state.load(2)
    name = "gates.of_task.click.weight"
    half = (before.average[name] + before.model[name]) / 2
    torch.testing.assert_close(states[1].average[name], half)
    # To be measured is not to be counted: the last round's order trains on nothing, and leaves nothing behind.
    measured = averaging()
    measured.validate(order_of(measured, round=4, exchange=4, evaluate=True), NOTHING)
    torch.testing.assert_close(
        measured.state.load_evaluated(3)[name], 0.6 * half + 0.4 * states[1].model[name], rtol=1e-5, atol=1e-7
    )
    assert measured.state.load(4).average[name].equal(states[1].average[name])


def test_a_scenario_that_was_not_asked_at_first_starts_its_mean_when_it_is(
    averaging: Callable[[], ScenarioClient],
) -> None:
    client = averaging()
    client.train(order_of(client, round=3, exchange=3, evaluate=True), NOTHING)
    evaluated = client.state.load_evaluated(2)
    kept = client.state.load(3)
    name = "gates.of_task.click.weight"
    draw_parameters(client.model, client.config.seed)
    assert torch.equal(kept.average[name], client.model.state_dict()[name])
    assert torch.equal(evaluated[name], client.model.state_dict()[name])
