from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from federated import RecordingGrid, Tiny
from flwr.app import Message
from flwr.serverapp import Grid

from client_app import app
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.inprocess import simulated_contexts
from pfmsmtrec_flwr.methods import federated_method
from pfmsmtrec_flwr.results.predictions import load_predictions
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
