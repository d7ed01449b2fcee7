from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from federated import Tiny
from replies import NODES, close, described
from torch import Tensor

from pfmsmtrec_flwr.aggregation.conflict import Coordination, coordinate
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import Stage
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.fedhca2 import METHOD, FedHCA2
from pfmsmtrec_flwr.model import Part, Slot

ENCODER = {Part.EXPERT, Part.NORMALIZATION}
DECODER = {Part.GATE, Part.TOWER, Part.TOWER_NORMALIZATION}


def configured(tiny: Tiny, **settings: Any) -> RunConfig:
    return METHOD.configure(tiny.config("fedhca2", **settings))


class Watched(FedHCA2):
    """Keeps what is coordinated."""

    seen: list[torch.Tensor]

    def coordinate(self, updates: torch.Tensor) -> Coordination:
        self.__dict__.setdefault("seen", []).append(updates)
        return super().coordinate(updates)


def encoder_names(slots: dict[str, Slot]) -> list[str]:
    return sorted(name for name in names_of(slots, ENCODER) if not slots[name].statistic)


def test_the_configuration_does_not_change_what_it_is(tiny: Tiny) -> None:
    other = {
        "pf_msmtrec__consensus": "agreement",
        "pf_msmtrec__personalized_tables": True,
        "pf_msmtrec__template": "hadamard",
    }
    config = configured(tiny, pf_msmtrec__regularization=0.1, **other)
    assert config.model.template == "none"
    parameters = tiny.trained(config).strategy.parameters
    slots = tiny.trained(config).strategy.parameters.slots["US"]
    assert {slots[name].part for name in parameters.common} == {Part.FEDERATED_EMBEDDING}
    assert {slots[name].part for name in parameters.personal["US"]} == ENCODER | DECODER


def test_the_encoder_of_a_scenario_is_one_vector(tiny: Tiny, tmp_path: Path) -> None:
    run = tiny.train(configured(tiny, federation__scenarios=[]), tmp_path / "a", strategy=Watched)
    slots = run.strategy.parameters.slots["US"]
    names = encoder_names(slots)
    assert {name.rpartition(".")[2] for name in names} == {"weight", "bias"}
    width = sum(run.models["US"][name].numel() for name in names)
    assert [updates.shape for updates in run.strategy.seen] == [(4, 1, width)] * 2
    assert {alpha.shape for alpha in run.strategy.memory.alpha.values()} == {(1,)}
    assert [len(record.conflict.mean) for record in run.result.rounds if record.conflict] == [1, 1]
    for tensors in run.strategy.parameters.personal.values():
        assert all(tensors[name].shape == run.models["US"][name].shape for name in names)


def test_the_update_received_is_the_coordination_of_whole_encoders(tiny: Tiny, tmp_path: Path) -> None:
    settings = {"federation__rounds": 1, "fedhca2__alpha": 0.5, "fedhca2__hyper_lr": 0.0}
    still = tiny.train(configured(tiny, **settings | {"fedhca2__alpha": 0.0}), tmp_path / "a", strategy=Watched)
    moved = tiny.train(configured(tiny, **settings), tmp_path / "b", strategy=Watched)
    names = encoder_names(moved.strategy.parameters.slots["US"])
    direction = coordinate(moved.strategy.seen[0], 0.4).direction.squeeze(0)
    for scenario in ("FR", "US"):
        before, after = (run.strategy.parameters.personal[scenario] for run in (still, moved))
        change = torch.cat([(after[name] - before[name]).flatten() for name in names])
        torch.testing.assert_close(change, 0.5 * direction, rtol=1e-4, atol=1e-6)


TASKS = {"A": ("click", "like"), "B": ("click",), "C": ("like",)}
STEPS = {("A", "click"): 0.1, ("A", "like"): -0.2, ("B", "click"): 0.3, ("C", "like"): 0.4}
"""Step of every parameter of a decoder, by scenario and task."""
BODY = {"A": 0.01, "B": 0.02, "C": 0.06}
"""Step of every other parameter, by scenario; their mean is 0.03."""


def strategy_of(tiny: Tiny, **settings: Any) -> FedHCA2:
    strategy = FedHCA2(configured(tiny, fedhca2__conflict_radius=0.0, **settings))
    strategy.begin(Federation({name: described(name, *tasks) for name, tasks in TASKS.items()}, NODES))
    return strategy


def step(strategy: FedHCA2) -> dict[str, dict[str, Tensor]]:
    """Take a round in which every parameter moves by its step; return what the scenarios sent."""
    updates = []
    for scenario in TASKS:
        slots = strategy.parameters.slots[scenario]
        start = {name: tensor.clone() for name, tensor in strategy.parameters.personal[scenario].items()}
        end = {}
        for name, tensor in start.items():
            task = slots[name].task
            end[name] = tensor + (7 if slots[name].statistic else STEPS[scenario, task] if task else BODY[scenario])
        updates.append(ScenarioUpdate(scenario, 10, start, end, {}, slots))
    strategy.aggregate(Stage.ALL, updates)
    return {update.scenario: update.end for update in updates}


def attended(size: int, mine: float) -> float:
    """Step of a decoder's tensor that the one of step `mine` attends to, among the four decoders."""
    powers = {key: math.exp(size * mine * other / math.sqrt(size)) for key, other in STEPS.items()}
    return sum(power * STEPS[key] for key, power in powers.items()) / sum(powers.values())


def test_a_round_in_numbers(tiny: Tiny) -> None:
    strategy = strategy_of(tiny)
    ends = step(strategy)
    for scenario, sent in ends.items():
        slots, held = strategy.parameters.slots[scenario], strategy.parameters.personal[scenario]
        assert held.keys() == sent.keys() == set(names_of(slots, ENCODER | DECODER))
        outputs = {name for name in held if slots[name].part is Part.TOWER and slots[name].layer == 1}
        assert len(outputs) == len(TASKS[scenario])
        for name, end in sent.items():
            task = slots[name].task
            if slots[name].statistic or name in outputs:
                assert torch.equal(held[name], end)
            elif task is None:
                close(held[name], end + 0.1 * 0.03)
            else:
                close(held[name], end + 0.1 * attended(end.numel(), STEPS[scenario, task]))
    assert strategy.shares() == {name: pytest.approx({"alpha": 0.1, "beta": 0.1}) for name in TASKS}


def test_the_shares_in_numbers(tiny: Tiny) -> None:
    settings = {"fedhca2__hyper_lr": 0.01, "fedhca2__hyper_momentum": 0.5, "fedhca2__hyper_decay": 0.2}
    strategy = strategy_of(tiny, **settings)
    ends = [step(strategy) for _ in range(3)][-1]
    slots = strategy.parameters.slots["B"]
    size = sum(ends["B"][name].numel() for name in encoder_names(slots))
    # <U, update> is size * 0.03 * 0.02 in every round; the weights decay by 0.2 of themselves.
    share, velocity = 0.1, 0.0
    for _ in range(2):
        velocity = 0.5 * velocity - size * 0.03 * 0.02 + 0.2 * share
        share -= 0.01 * velocity
    assert float(strategy.memory.alpha["B"]) == pytest.approx(share, rel=1e-4)
    # The layer's weight and bias have one share.
    sizes = [ends["B"][f"towers.of_task.click.0.{kind}"].numel() for kind in ("weight", "bias")]
    share, velocity = 0.1, 0.0
    for _ in range(2):
        velocity = 0.5 * velocity - sum(0.3 * attended(each, 0.3) * each for each in sizes) + 0.2 * share
        share -= 0.01 * velocity
    assert float(strategy.memory.beta["B", "towers.of_task.click.0"]) == pytest.approx(share, rel=1e-4)


def test_shares_leave_their_range_but_do_not_weigh_so(tiny: Tiny) -> None:
    strategy = strategy_of(tiny, fedhca2__hyper_lr=100.0)
    for _ in range(2):
        ends = step(strategy)
    assert float(strategy.memory.alpha["A"]) > 1
    assert strategy.shares()["A"]["alpha"] == 1.0
    for name in encoder_names(strategy.parameters.slots["A"]):
        close(strategy.parameters.personal["A"][name], ends["A"][name] + 0.03)
