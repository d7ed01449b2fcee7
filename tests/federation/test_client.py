from __future__ import annotations

from pathlib import Path

import pytest
import torch
from federated import Tiny
from flwr.app import Context, RecordDict

from pfmsmtrec_flwr.data.store import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client import ScenarioClient
from pfmsmtrec_flwr.federation.node import answer
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, pack_orders, unpack_replies
from pfmsmtrec_flwr.federation.state import LocalState
from pfmsmtrec_flwr.methods import client_of
from pfmsmtrec_flwr.model import Part, draw_parameters

NOTHING = Incoming({}, {})


@pytest.fixture
def client(tiny: Tiny, tmp_path: Path) -> ScenarioClient:
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    return ScenarioClient(store, tiny.config(train__optimizer_state="keep"), LocalState(tmp_path / "US"))


def order_of(client: ScenarioClient, *parts: Part, **more: int) -> Order:
    return Order(client.config.model_dump_json(), "pf-msmtrec", **{"round": 1, "exchange": 1} | more, parts=parts)


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
    assert reply.figures["steps"] == 3
    rows = client.train(order_of(client, Part.FEDERATED_EMBEDDING, exchange=2), NOTHING)
    assert (list(rows.parameters), list(rows.rows)) == ([], ["federated_embeddings.weight"])


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
    assert not towers.keys() & kept.keys()
    rest = client.slots.keys() - towers.keys()
    assert rest <= kept.keys()
    moments = {name for name in kept if name.startswith("optimizer/")}
    assert kept.keys() == rest | moments
    assert {name.split("/")[1] for name in moments} == {"step", "exp_avg", "exp_avg_sq"}
    assert kept[f"optimizer/step/{next(iter(towers))}"].item() == 3


def test_moments_that_are_reset_are_not_kept(tiny: Tiny, tmp_path: Path) -> None:
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    client = ScenarioClient(store, tiny.config(train__optimizer_state="reset"), LocalState(tmp_path / "US"))
    client.train(order_of(client), NOTHING)
    assert client.state.load(1).keys() == client.slots.keys()


def test_training_goes_on_from_the_kept_state(client: ScenarioClient, tmp_path: Path) -> None:
    client.train(order_of(client), NOTHING)
    client.train(order_of(client, round=2, exchange=2), NOTHING)
    fresh = LocalState(tmp_path / "fresh")
    for number in (1, 2):  # as deployed: a new process for every message
        each = ScenarioClient(client.store, client.config, fresh)
        each.train(order_of(each, round=number, exchange=number), NOTHING)
    one, other = client.state.load(2), fresh.load(2)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["gates.of_task.click.weight"], fresh.load(1)["gates.of_task.click.weight"])


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
