from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from federated import RecordingGrid, Tiny
from flwr.app import Message
from flwr.serverapp import Grid

from client_app import app
from pfmsmtrec_flwr.federation.inprocess import simulated_contexts
from pfmsmtrec_flwr.methods import federated_method

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
    assert list(result.test) == ["FR"]
    assert result.selected.keys() == {"FR"}
    assert [list(record.validation) for record in result.rounds] == [["FR"], ["FR"]]
