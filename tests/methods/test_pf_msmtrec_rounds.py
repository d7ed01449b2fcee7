"""Rounds of PF-MSMTrec in numbers, on replies made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from federated import Tiny
from replies import (
    MEAN_STEP,
    NODES,
    STEPS,
    TABLE,
    aggregate,
    ask,
    close,
    moved,
    strategy_of,
    unpack_replies,
)
from torch import Tensor

from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec
from pfmsmtrec_flwr.model import Part

pytestmark = pytest.mark.usefixtures("flower_run")

ONE_FOR_ALL = {"pf_msmtrec__consensus": "examples", "pf_msmtrec__personalized_tables": False}
GIVEN_NOTHING: dict[str, Any] = {
    "pf_msmtrec__template": "none",
    "pf_msmtrec__expert_weight": 0.0,
    "pf_msmtrec__tower_weight": 0.0,
}


@pytest.mark.parametrize("template", ["additive", "none"])
@pytest.mark.parametrize("consensus", [{}, ONE_FOR_ALL], ids=["all agree", "one for all"])
def test_pf_msmtrec_in_numbers(tiny: Tiny, consensus: dict[str, Any], template: str) -> None:
    settings = {"pf_msmtrec__conflict_radius": 0.0, "pf_msmtrec__expert_weight": 0.5, "pf_msmtrec__template": template}
    strategy = strategy_of(tiny.config(pf_msmtrec__regularization=1 / 3, **settings, **consensus))
    assert isinstance(strategy, PFMSMTRec)
    common = {name: tensor.clone() for name, tensor in strategy.parameters.common.items()}
    start = {key: tensor.clone() for key, tensor in strategy.parameters.personal["A"].items()}
    slots = strategy.parameters.slots["A"]
    table = {Part.FEDERATED_EMBEDDING}
    assert {slots[name].part for name in common} == (table if consensus else set())
    assert {slots[name].part for name in start} == {Part.EXPERT, Part.TOWER} | (set() if consensus else table)
    aggregate(strategy)
    agreement = torch.ones(3, 3, dtype=torch.float64) if consensus else strategy.agreement.among("ABC")
    assert bool((agreement > 0.9).all())
    counted = agreement * torch.tensor([0.3, 0.1, 0.6])
    weights = counted / counted.sum(dim=1, keepdim=True)
    steps = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    # Experts: U is the plain mean 0.2. G moves by U, S by its step + 0.5 U and then a quarter of the way to the mean.
    moved = 0.2 if template == "additive" else 0.0
    ends = 0.75 * (steps + 0.5 * 0.2) + 0.25 * weights @ (steps + 0.5 * 0.2) + moved
    for scenario, end in zip("ABC", ends.tolist(), strict=True):
        for name in names_of(slots, [Part.EXPERT]):
            close(strategy.parameters.personal[scenario][name], start[name] + end)
    # Towers: attention by the agreement at a temperature of 0.2, and half of what was attended.
    ends = steps + 0.5 * (agreement / 0.2).softmax(dim=1) @ steps
    ends = 0.75 * ends + 0.25 * weights @ ends
    for scenario, end in zip("ABC", ends.tolist(), strict=True):
        for name in names_of(slots, [Part.TOWER]):
            close(strategy.parameters.personal[scenario][name], start[name] + end)
    for scenario, mean in zip("ABC", (weights @ steps).tolist(), strict=True):
        close(
            strategy.parameters.of(scenario)[TABLE][1], (common | start)[TABLE][1] + (MEAN_STEP if consensus else mean)
        )


OPPOSED = {"A": 0.1, "B": 0.2, "C": -0.3}


def copies(strategy: ScenarioStrategy, scenario: str) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in strategy.parameters.of(scenario).items()}


def personal_names(strategy: ScenarioStrategy) -> list[str]:
    return names_of(strategy.parameters.slots["A"], [Part.EXPERT, Part.TOWER])


def expert_names(strategy: ScenarioStrategy) -> list[str]:
    return names_of(strategy.parameters.slots["A"], [Part.EXPERT])


def weighted(cosines: list[float]) -> float:
    """Return the mean of cosines of which the n-th counts by 1 / n."""
    counts = [1 / number for number in range(1, len(cosines) + 1)]
    return sum(count * cosine for count, cosine in zip(counts, cosines, strict=True)) / sum(counts)


def test_a_scenario_that_opposes_all_others_is_left_with_its_own_parameters(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__regularization=1.0, **GIVEN_NOTHING))
    start = copies(strategy, "A")
    aggregate(strategy, steps=OPPOSED)
    held = strategy.parameters.personal
    for name in personal_names(strategy):
        assert torch.equal(held["C"][name], start[name] - 0.3)
        # A and B have a consensus of their own, at 0.75 * 0.1 + 0.25 * 0.2.
        close(held["A"][name], start[name] + 0.5 * (0.1 + 0.125))
        close(held["B"][name], start[name] + 0.5 * (0.2 + 0.125))
    rows = {"A": (0, 0.125, 0.1, 0.2, 0), "B": (0, 0.125, 0.1, 0.2, 0), "C": (0, -0.3, 0, 0, -0.3)}
    for scenario, steps in rows.items():
        close(held[scenario][TABLE], start[TABLE] + torch.tensor(steps)[:, None])
    # The consensus that is measured has the tables too, by training rows.
    means = [sum(share * rows[name][row] for name, share in zip("ABC", (0.3, 0.1, 0.6), strict=True)) for row in (1, 4)]
    close(strategy.consensus()[TABLE][[1, 4]], start[TABLE][[1, 4]] + torch.tensor(means)[:, None])


def test_with_one_consensus_it_is_pulled_to_the_others(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__regularization=1.0, **GIVEN_NOTHING, **ONE_FOR_ALL))
    start = copies(strategy, "A")
    aggregate(strategy, steps=OPPOSED)
    mean = 0.3 * 0.1 + 0.1 * 0.2 - 0.6 * 0.3
    for name in personal_names(strategy):
        close(strategy.parameters.personal["C"][name], start[name] + 0.5 * (mean - 0.3))
    for row, step in enumerate((0, mean, 0.1, 0.2, -0.3)):
        close(strategy.parameters.common[TABLE][row], start[TABLE][row] + step)


def test_tables_of_their_own_are_the_common_one_where_all_agree(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    own = strategy_of(tiny.config())
    assert isinstance(own, PFMSMTRec)
    monkeypatch.setattr(own.agreement, "among", lambda names: torch.ones(len(names), len(names), dtype=torch.float64))
    common = strategy_of(tiny.config(pf_msmtrec__consensus="examples"))
    for strategy in (own, common):
        for _ in range(2):
            aggregate(strategy, steps=OPPOSED)
    for scenario in NODES:
        assert torch.equal(own.parameters.personal[scenario][TABLE], common.parameters.common[TABLE])


def test_agreement_survives_a_missing_scenario(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__regularization=1.0, federation__min_scenarios=2, **GIVEN_NOTHING))
    assert isinstance(strategy, PFMSMTRec)
    aggregate(strategy, steps=OPPOSED)
    away = copies(strategy, "B")
    start: dict[str, dict[str, Tensor]] = {}
    for number in range(2, 9):  # without the node of B; A and C move together now
        start = {scenario: copies(strategy, scenario) for scenario in "AC"}
        message = next(each for each in ask(strategy, number) if each.metadata.dst_node_id == NODES["A"])
        strategy.aggregate_train(number, [moved(strategy, message, STEPS | {"C": 0.1})])
    # A and C have cosines of -1, then seven times 1, C and its own last update too; A always repeats itself.
    size = sum(own.numel() // 2 for name, own in away.items() if name in expert_names(strategy))  # of two experts
    noise = 2 / math.sqrt(size)
    agreed, repeated = weighted([-1.0] + 7 * [1.0]), weighted([-1.0] + 6 * [1.0])
    error = noise * math.sqrt(sum(1 / n**2 for n in range(1, 9))) / sum(1 / n for n in range(1, 9))
    share = (agreed - error**2 / agreed) / math.sqrt(repeated)
    assert 0.3 < share < 0.7
    # B was there in the first round only: its cosine with A is 1 as it was.
    pair = math.sqrt(1 - noise**2)
    expected = torch.tensor([[1, pair, share], [pair, 1, 0], [share, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(strategy.agreement.among("ABC"), expected, rtol=0, atol=1e-6)
    of_c, of_a = 60 * share / (30 + 60 * share), 30 * share / (30 * share + 60)
    held = strategy.parameters.personal
    for name in personal_names(strategy):
        assert torch.equal(held["B"][name], away[name])
        ends = {scenario: own[name] + 0.1 for scenario, own in start.items()}
        # Rows by agreement: 30 and 60 shares in A's consensus, 30 shares and 60 in C's.
        close(held["A"][name], ends["A"] + 0.5 * of_c * (ends["C"] - ends["A"]))
        close(held["C"][name], ends["C"] + 0.5 * of_a * (ends["A"] - ends["C"]))
    assert torch.equal(held["B"][TABLE], away[TABLE])
    first, second = (start[scenario][TABLE][1] + 0.1 for scenario in "AC")  # used 30 and 60 times
    close(held["A"][TABLE][1], (1 - of_c) * first + of_c * second)
    close(held["C"][TABLE][1], of_a * first + (1 - of_a) * second)
    for scenario, own in start.items():  # a row that nobody touched stays what it is in each scenario's own table
        assert torch.equal(held[scenario][TABLE][3], own[TABLE][3])
    close(start["A"][TABLE][3] - start["C"][TABLE][3], torch.full((2,), 0.2))


def test_the_attention_of_the_towers_is_reported(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__attention_temperature=0.5))
    assert isinstance(strategy, PFMSMTRec)
    assert strategy.attention() == {}
    aggregate(strategy, steps=OPPOSED)
    weights = (strategy.agreement.among("ABC") / 0.5).softmax(dim=1)
    assert weights[0, 2] < 0.2 < weights[0, 1]  # C moves against A and B
    found = strategy.attention()
    assert list(found) == ["click"]
    assert found["click"].scenarios == ("A", "B", "C")
    reported = torch.tensor(found["click"].weights, dtype=torch.float64)
    torch.testing.assert_close(reported, weights, rtol=0, atol=1e-6)


def test_shares_are_learned_from_the_second_round_on(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__conflict_radius=0.0, pf_msmtrec__hyper_lr=0.1))
    aggregate(strategy)
    assert strategy.shares() == {name: {"alpha": 0.5, "beta": 0.5} for name in "ABC"}
    aggregate(strategy)  # all move on along U: the cosine is 1
    for shares in strategy.shares().values():
        assert shares == pytest.approx({"alpha": 0.6, "beta": 0.6}, abs=1e-6)


@pytest.mark.parametrize(("off", "left"), [("expert_weight", {"beta"}), ("tower_weight", {"alpha"})])
def test_a_share_that_is_off_is_not_learned_and_the_other_is(tiny: Tiny, off: str, left: set[str]) -> None:
    strategy = strategy_of(tiny.config(**{f"pf_msmtrec__{off}": 0.0}, pf_msmtrec__hyper_lr=0.1))
    for _ in range(2):
        aggregate(strategy)
    assert {name: set(shares) for name, shares in strategy.shares().items()} == dict.fromkeys("ABC", left)
    assert {value for shares in strategy.shares().values() for value in shares.values()} != {0.5}


def test_a_scenario_that_missed_a_round_learns_its_share_from_what_it_was_given(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config(pf_msmtrec__hyper_lr=0.1, federation__min_scenarios=2))
    assert isinstance(strategy, PFMSMTRec)
    aggregate(strategy)
    first = dict(strategy.memory.received_experts)
    replies = [moved(strategy, message) for message in ask(strategy)]
    strategy.aggregate_train(1, replies[:-1])
    answered = {name for reply in replies[:-1] for name in unpack_replies(reply.content)}
    assert answered < set("ABC")
    for name in "ABC":
        assert (strategy.memory.received_experts[name] is first[name]) == (name not in answered)
