"""A node answers for each of its scenarios, whatever happens to the others."""

from __future__ import annotations

from pathlib import Path
from weakref import ref

import pytest
import torch
from federated import Tiny
from flwr.app import Context, RecordDict
from replies import unpack_replies

from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.inprocess import simulated_contexts
from pfmsmtrec_flwr.federation.node import answer
from pfmsmtrec_flwr.federation.parcels import PARCEL, in_parcels, out_of_parcels
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, pack_orders
from pfmsmtrec_flwr.methods import client_of


def test_a_scenario_that_fails_does_not_take_its_neighbours_with_it(
    tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny.config("alone", federation__scenarios=[])
    order = Order(config.model_dump_json(), "alone", 1, 1)
    node = {"data": str(tiny.root), "state": str(tmp_path), "scenarios": "ES,NL,US,XX"}
    context = Context(run_id=1, node_id=2, node_config=dict(node), state=RecordDict(), run_config={})

    def action(client: ScenarioClient, order: Order, incoming: Incoming) -> Reply:
        if client.store.scenario == "NL":
            raise ZeroDivisionError("a\ndefect")
        return client.train(order, incoming)

    content = pack_orders(order, Incoming({}, {}), ["ES", "NL", "US", "XX"])
    replies = unpack_replies(answer(content, context, client_of, action))
    assert {name for name, reply in replies.items() if not reply.error} == {"ES", "US"}
    assert all("examples" in replies[name].figures for name in ("ES", "US"))
    assert replies["NL"].error == "scenario NL: ZeroDivisionError: a defect"
    assert replies["XX"].error.startswith("no prepared data at ")
    assert "Traceback" in caplog.text  # the node's log says where


def test_a_scenario_leaves_nothing_but_its_packed_reply_before_the_next_begins(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("alone")
    context = simulated_contexts(1, 1, {"output": str(tmp_path), "data": str(tiny.root)})[1]
    left: list[ref[torch.Tensor]] = []
    came: list[list[str]] = []

    def action(client: ScenarioClient, _: Order, incoming: Incoming) -> Reply:
        assert [tensor() for tensor in left] == [None] * len(left)
        came.append(list(incoming.personal))
        returned = incoming.personal[client.store.scenario]["w"] + 1
        left.extend([ref(incoming.personal[client.store.scenario]["w"]), ref(returned)])
        return Reply(parameters={"w": returned})

    personal = {name: {"w": torch.full((2,), float(number))} for number, name in enumerate(["ES", "NL"])}
    content = pack_orders(Order(config.model_dump_json(), "alone", 1, 1), Incoming({}, personal), ["ES", "NL"])
    replies = unpack_replies(answer(content, context, client_of, action))
    assert came == [["ES"], ["NL"]]
    assert {name: reply.parameters["w"].tolist() for name, reply in replies.items()} == {"ES": [1, 1], "NL": [2, 2]}


def test_a_message_with_parcels_is_answered_with_parcels(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("alone")
    context = simulated_contexts(1, 1, {"output": str(tmp_path), "data": str(tiny.root)})[1]

    def action(client: ScenarioClient, _: Order, incoming: Incoming) -> Reply:
        return Reply(parameters={name: 2 * own for name, own in incoming.personal[client.store.scenario].items()})

    sent = Incoming({}, {"ES": {"w": torch.ones(2), "b": torch.full((), 3.0)}})
    content = pack_orders(Order(config.model_dump_json(), "alone", 1, 1), sent, ["ES"])
    plain = answer(content, context, client_of, action)
    answered = answer(in_parcels(content), context, client_of, action)
    assert list(plain["ES/parameters"]) == ["w", "b"]
    assert list(answered["ES/parameters"]) == [PARCEL]
    assert out_of_parcels(answered) == plain
