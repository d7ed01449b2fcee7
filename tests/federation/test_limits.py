"""Limits of a site: what a deployed node refuses, whatever the server asks for."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from architectures import POOLED
from federated import Tiny
from flwr.app import Context, RecordDict
from replies import unpack_replies

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.limits import LIMITS_TEXT, SiteLimits, read_limits, rows_of_update
from pfmsmtrec_flwr.federation.node import answer
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, pack_orders
from pfmsmtrec_flwr.methods import client_of, federated_method
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.model.build import ARCHITECTURES


class Site:
    """A deployed node that hosts US, or its simulated twin."""

    def __init__(self, tiny: Tiny, state: Path) -> None:
        self.tiny = tiny
        self.node: dict[str, Any] = {"data": str(tiny.root), "state": str(state), "scenarios": "US"}
        self.output = str(state)

    def train(self, config: RunConfig, parts: tuple[Part, ...], *, simulated: bool = False) -> Reply:
        node = {"partition-id": 0, "num-partitions": 1} if simulated else self.node
        folders: dict[str, bool | float | int | str] = {"data": str(self.tiny.root), "output": self.output}
        chosen = folders if simulated else {}
        context = Context(run_id=1, node_id=2, node_config=dict(node), state=RecordDict(), run_config=chosen)
        order = Order(config.model_dump_json(), config.method, 1, 1, parts=parts)
        content = pack_orders(order, Incoming({}, {}), ["US"])

        def action(client: ScenarioClient, order: Order, incoming: Incoming) -> Reply:
            return client.train(order, incoming)

        return unpack_replies(answer(content, context, client_of, action))["US"]

    def error(self, config: RunConfig, *parts: Part) -> str:
        return self.train(config, parts).error


@pytest.fixture
def site(tiny: Tiny, tmp_path: Path) -> Site:
    return Site(tiny, tmp_path / "state")


@pytest.mark.parametrize("part", [Part.NORMALIZATION, Part.OUTPUT_BIAS, Part.EXPERT_TASK])
def test_statistics_and_base_rates_leave_a_site_only_if_it_says_so(site: Site, tmp_path: Path, part: Part) -> None:
    config = site.tiny.config(federation__scenarios=[])
    error = site.error(config, Part.EXPERT, part)
    assert error.startswith(f"the server asks for the part '{part}', which may not leave this site: ")
    assert not site.error(config, Part.EXPERT, Part.GATE, Part.TOWER)
    assert not site.train(config, (Part.EXPERT, part), simulated=True).error
    own = tmp_path / "limits.yaml"
    own.write_text(f"parts: [expert, '{part}']\n")
    site.node["limits"] = str(own)
    reply = site.train(config, (Part.EXPERT, part))
    assert not reply.error
    assert reply.parameters
    assert "may not leave this site" in site.error(config, Part.GATE)


def test_a_method_is_refused_by_the_part_that_it_needs(site: Site) -> None:
    config = site.tiny.config("fedavg", federation__scenarios=[])
    parts = tuple(federated_method("fedavg").strategy.sharing_of(config).parts)
    names = "'normalization', 'tower, normalization', 'tower, output bias'"
    assert site.error(config, *parts).startswith(f"the server asks for the part {names}, which may not leave")


def test_an_update_of_few_rows_is_refused(site: Site, tmp_path: Path) -> None:
    few: dict[str, Any] = {"federation__scenarios": []}
    for settings, rows in (
        ({"data__train_fraction": 1e-9}, 2),
        ({"train__max_local_steps": 1}, 16),
        ({"train__local_epochs": 0.5}, 24),
    ):
        error = site.error(site.tiny.config(**few, **settings), Part.EXPERT)
        assert error.startswith(f"an update of scenario US would rest on {rows} training rows, ")
        assert "no fewer than 32" in error
    (own := tmp_path / "limits.yaml").write_text("fewest_rows: 16\n")
    site.node["limits"] = str(own)
    assert not site.error(site.tiny.config(**few, train__max_local_steps=1), Part.EXPERT)
    assert site.error(site.tiny.config(**few, data__train_fraction=1e-9), Part.EXPERT)


def test_the_rows_of_an_update_are_all_that_a_round_passes_over(tiny: Tiny, tmp_path: Path) -> None:
    client = client_of("alone")
    assert client is ScenarioClient
    config = tiny.config(federation__scenarios=[], train__local_epochs=3, train__max_local_steps=100)
    store = Tiny(tmp_path).write("rows", "A", rows=48, seed=1)
    assert rows_of_update(config, store) == 48


@pytest.mark.parametrize(
    ("limit", "settings", "message"),
    [
        ("most_threads: 2", {"train__threads": 3}, "train.threads is 3, and this site allows 2 (most_threads in its"),
        ("most_parameters: 50", {}, "number of parameters is "),
        ("least_noise: 0.5", {}, "privacy.noise is 0, and this site allows no less than 0.5 (least_noise in its"),
        ("least_noise: 0.5", {"privacy__noise": 0.4}, "privacy.noise is 0.4, and this site allows no less than 0.5"),
        ("row_counts: powers", {}, "privacy.row_counts is exact, and this site sends powers of two alone"),
    ],
)
def test_bounds_of_settings(site: Site, tmp_path: Path, limit: str, settings: dict[str, Any], message: str) -> None:
    (own := tmp_path / "limits.yaml").write_text(f"{limit}\n")
    site.node["limits"] = str(own)
    assert site.error(site.tiny.config(federation__scenarios=[], **settings), Part.EXPERT).startswith(message)


def test_updates_within_the_bounds_of_privacy_leave() -> None:
    asked = RunConfig.model_validate({"privacy": {"noise": 0.5, "row_counts": "powers"}})
    SiteLimits(least_noise=0.5, row_counts="powers").refuse_settings(asked)
    SiteLimits().refuse_settings(asked)


def test_made_up_rows_have_a_ceiling() -> None:
    wanted = {"train_rows": {"A": 500}, "validation_rows": 200, "test_rows": 400, "ctr": 0.3}
    config = RunConfig.model_validate({"data": {"synthetic": wanted}})
    SiteLimits(most_made_up_rows=1100).refuse_settings(config)
    with pytest.raises(
        UserError, match=r"number of made-up rows is 1100, and this site allows 1099 \(most_made_up_rows"
    ):
        SiteLimits(most_made_up_rows=1099).refuse_settings(config)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES.keys() - set(POOLED)))
def test_every_architecture_is_measured_before_it_takes_memory(tiny: Tiny, tmp_path: Path, architecture: str) -> None:
    config = tiny.config(model__architecture=architecture, federation__scenarios=[])
    store = Tiny(tmp_path).write("sizes", "A", rows=48, seed=1)
    order = Order(config.model_dump_json(), config.method, 1, 1, parts=(Part.EXPERT,))
    with pytest.raises(UserError, match=r"number of parameters is \d+, and this site allows 1 "):
        SiteLimits(most_parameters=1).refuse_order(order, config, store)
    SiteLimits().refuse_order(order, config, store)


def test_memory_is_bounded_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, bounds: found.append((kind, bounds)))
    SiteLimits().bound_memory()
    assert not found
    SiteLimits(most_memory_mb=100).bound_memory()
    assert found == [(resource.RLIMIT_DATA, (100 << 20, resource.getrlimit(resource.RLIMIT_DATA)[1]))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fewest_row: 3", "unknown key 'fewest_row'; did you mean 'fewest_rows'"),
        ("parts: [local embedding]", "parts names 'local embedding', expected some of 'expert', "),
        ("parts: [experts]", "parts names 'experts', expected some of "),
        ("most_threads: -1", "key 'most_threads': got -1"),
    ],
)
def test_a_wrong_file_of_limits_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_limits(path)
    assert message in str(raised.value)
    path.write_text(LIMITS_TEXT)
    assert read_limits(path) == SiteLimits()
    with pytest.raises(UserError, match="cannot read"):
        read_limits(tmp_path / "missing.yaml")
