from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from disclosed import disclosed_paths
from federated import RecordingGrid, Tiny
from scoring_shop import config, trained_shop

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.disclosure import DISCLOSED, declared
from pfmsmtrec_flwr.federation.inprocess import run_identity, simulated_contexts
from pfmsmtrec_flwr.methods import federated_method

pytestmark = pytest.mark.slow

RUNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pf-msmtrec", {"federation__evaluate_consensus": True}),
    ("pf-msmtrec", {"pf_msmtrec__schedule": "bottom-up", "pf_msmtrec__gates": "federated"}),
    ("pf-msmtrec", {"federation__precision": "int8"}),
    ("fedavg", {}),
    ("ditto", {}),
    ("fedala", {}),
    ("apfl", {}),
    ("fedhca2", {}),
)


def seen_in(own: RunConfig, data: Path, output: Path, start_from: str = "") -> set[tuple[str, str]]:
    """Train a method over two nodes; return all that left the scenarios, by message type."""
    from client_app import app

    method = federated_method(own.method)
    run_config = {"output": str(output), "data": str(data), "start-from": start_from}
    grid = RecordingGrid(app, simulated_contexts(7, 2, run_config))
    strategy = method.make_strategy(method.configure(own), start_from=start_from)
    with run_identity(7):
        strategy.start(grid)
    return disclosed_paths(grid.replies, strategy.parameters.slots)


@pytest.fixture(scope="module")
def seen(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """All that left the scenarios in runs of several methods, on made-up data and from an earlier run as well."""
    found = set()
    for method, settings in RUNS:
        trained = tiny.trained(tiny.config(method, **settings))
        found |= disclosed_paths(trained.grid.replies, trained.strategy.parameters.slots)
    folder = tmp_path_factory.mktemp("shop")
    made_up: dict[str, Any] = {
        "data.name": "synthetic",
        "data.synthetic": {"train_rows": {"NL": 200, "US": 200}, "validation_rows": 100, "test_rows": 100},
        "federation.rounds": 1,
    }
    found |= seen_in(config("pf-msmtrec").with_settings(made_up, "test"), folder / "made-up", folder / "first")
    earlier = trained_shop(folder, "fedavg")
    return found | seen_in(config("fedavg"), folder / "data", folder / "next", str(earlier))


def test_nothing_leaves_a_scenario_that_is_not_declared(seen: set[tuple[str, str]]) -> None:
    undeclared = [(kind, path) for kind, path in seen if (found := declared(path)) is None or kind not in found.when]
    assert sorted(undeclared) == []


def test_everything_that_is_declared_leaves_in_some_run(seen: set[tuple[str, str]]) -> None:
    never = [
        (kind, each.path)
        for each in DISCLOSED
        for kind in each.when
        if not any(kind == own and each.covers(path) for own, path in seen)
    ]
    assert never == []


def test_a_path_has_one_declaration(seen: set[tuple[str, str]]) -> None:
    for _, path in seen:
        assert len([each for each in DISCLOSED if each.covers(path)]) == 1, path
