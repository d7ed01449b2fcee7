from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from federated import Tiny, same

from pfmsmtrec_flwr.aggregation.conflict import Coordination, coordinate
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.coordinated import CoordinatedStrategy
from pfmsmtrec_flwr.methods.fedhca2 import METHOD, FedHCA2
from pfmsmtrec_flwr.model import TOWER_PARTS, Part


def configured(tiny: Tiny, **settings: Any) -> RunConfig:
    return METHOD.configure(tiny.config("fedhca2", **settings))


class Watched(FedHCA2):
    """Keeps what is coordinated."""

    seen: list[torch.Tensor]

    def coordinate(self, updates: torch.Tensor) -> Coordination:
        self.__dict__.setdefault("seen", []).append(updates)
        return super().coordinate(updates)


def test_the_configuration_does_not_change_what_it_is(tiny: Tiny) -> None:
    other = {
        "pf_msmtrec__consensus": "agreement",
        "pf_msmtrec__personalized_tables": True,
        "pf_msmtrec__interpolation": 0.7,
    }
    config = configured(tiny, model__template="hadamard", pf_msmtrec__regularization=0.1, **other)
    assert config.model.template == "none"
    assert FedHCA2(config).regularization == 0.0
    parameters = tiny.trained(config).strategy.parameters
    slots = tiny.trained(config).strategy.parameters.slots["US"]
    assert {slots[name].part for name in parameters.common} == {Part.FEDERATED_EMBEDDING}
    assert {slots[name].part for name in parameters.personal["US"]} == {Part.EXPERT_SCENARIO, *TOWER_PARTS}


def test_all_experts_of_a_scenario_are_one_vector(tiny: Tiny, tmp_path: Path) -> None:
    run = tiny.train(configured(tiny, federation__scenarios=[]), tmp_path / "a", strategy=Watched)
    slots = run.strategy.parameters.slots["US"]
    experts = names_of(slots, [Part.EXPERT_SCENARIO])
    width = sum(run.models["US"][name].numel() for name in experts)
    assert [updates.shape for updates in run.strategy.seen] == [(4, 1, width)] * 2
    assert {alpha.shape for alpha in run.strategy.memory.alpha.values()} == {(1,)}
    assert [len(record.conflict.mean) for record in run.result.rounds if record.conflict] == [1, 1]
    for tensors in run.strategy.parameters.personal.values():
        assert all(tensors[name].shape == run.models["US"][name].shape for name in experts)


def test_the_update_given_is_the_coordination_of_whole_encoders(tiny: Tiny, tmp_path: Path) -> None:
    settings = {"federation__rounds": 1, "fedhca2__alpha": 0.5, "fedhca2__hyper_lr": 0.0}
    still = tiny.train(configured(tiny, **settings | {"fedhca2__alpha": 0.0}), tmp_path / "a", strategy=Watched)
    given = tiny.train(configured(tiny, **settings), tmp_path / "b", strategy=Watched)
    slots = given.strategy.parameters.slots["US"]
    names = sorted(names_of(slots, [Part.EXPERT_SCENARIO]))
    direction = coordinate(given.strategy.seen[0], 0.4).direction.squeeze(0)
    for scenario in ("FR", "US"):
        before, after = (run.strategy.parameters.personal[scenario] for run in (still, given))
        moved = torch.cat([(after[name] - before[name]).flatten() for name in names])
        torch.testing.assert_close(moved, 0.5 * direction, rtol=1e-4, atol=1e-6)


class ByExpert(FedHCA2):
    """Coordinates each expert by itself."""

    def aggregate_experts(self, updates: Sequence[ScenarioUpdate]) -> None:
        CoordinatedStrategy.aggregate_experts(self, updates)


@pytest.mark.parametrize("experts", [1, 2])
def test_a_single_expert_is_the_encoder(tiny: Tiny, tmp_path: Path, experts: int) -> None:
    config = configured(tiny, model__experts=experts)
    whole = tiny.train(config, tmp_path / "a")
    by_expert = tiny.train(config, tmp_path / "b", strategy=ByExpert)
    assert same(whole.models, by_expert.models) == (experts == 1)
