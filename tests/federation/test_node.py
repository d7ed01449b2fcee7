"""A node answers for each of its scenarios, whatever happens to the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from federated import Tiny
from flwr.app import Context, RecordDict
from replies import unpack_replies

from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.node import answer
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
