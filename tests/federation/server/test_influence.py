"""What a scenario's update counts for, and how far one scenario can move the others."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from federated import Tiny, same
from hypothesis import given, settings
from hypothesis import strategies as st
from replies import EXAMPLES, NODES, TABLE, aggregate, described, strategy_of
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import RunConfig, TrainSettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import Stage
from pfmsmtrec_flwr.federation.server.influence import bound_updates
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.model import Part, Slot

TRAIN = TrainSettings(batch_size=16)
FIELDS = {"fields": ["item", "tab", "person"], "rows": [2, 3, 1], "federated": [True, True, False], "most": [1, 1, 1]}
SCENARIOS = {name: described(name).model_copy(update=FIELDS) for name in NODES}
EXPERTS, TOWER, VARIANCE, COUNTER = "experts.weight", "tower.weight", "norm.running_var", "norm.num_batches_tracked"
SLOTS = {
    EXPERTS: Slot(EXPERTS, Part.EXPERT),
    TOWER: Slot(TOWER, Part.TOWER, task="click"),
    VARIANCE: Slot(VARIANCE, Part.NORMALIZATION, statistic=True),
    COUNTER: Slot(COUNTER, Part.NORMALIZATION, statistic=True),
    TABLE: Slot(TABLE, Part.FEDERATED_EMBEDDING),
}
START = {
    EXPERTS: torch.zeros(2, 3, 4),
    TOWER: torch.ones(2, 2),
    VARIANCE: torch.full((4,), 0.25),
    COUNTER: torch.tensor(3),
    TABLE: torch.zeros(5, 2),
}


def update(name: str, step: float, **changed: Tensor) -> ScenarioUpdate:
    """Return an update that moves all by a step, but for the changed values."""
    end = {key: value + step if value.is_floating_point() else value + 1 for key, value in START.items()} | changed
    rows = RowUpdate(torch.tensor([1, 2]), end.pop(TABLE)[[1, 2]], torch.tensor([4, 2]))
    return ScenarioUpdate(name, EXAMPLES[name], START, end, {TABLE: rows}, SLOTS)


def bounded(*updates: ScenarioUpdate, multiple: float = 2.0) -> list[ScenarioUpdate]:
    # one step for everyone, so that lengths are compared as they are
    return bound_updates(updates, SCENARIOS, TRAIN.model_copy(update={"max_local_steps": 1}), Stage.ALL, multiple)


def length(one: ScenarioUpdate, name: str) -> float:
    return float((one.end[name].double() - one.start[name].double()).norm())


def test_updates_within_their_bounds_keep_every_bit() -> None:
    updates = [update("A", 0.1), update("B", -0.2), update("C", 0.15)]
    for before, after in zip(updates, bounded(*updates), strict=True):
        assert after.examples == before.examples
        assert all(torch.equal(after.end[name], value) for name, value in before.end.items())
        assert after.rows[TABLE].counts is before.rows[TABLE].counts
        assert torch.equal(after.rows[TABLE].values, before.rows[TABLE].values)


@pytest.mark.parametrize("factor", [2.5, -5.5])
def test_every_part_of_a_long_update_is_shortened_to_the_multiple(factor: float) -> None:
    _, _, hostile = bounded(update("A", 0.1), update("B", 0.1), update("C", 0.1 * factor))
    step = 0.2 if factor > 0 else -0.2
    for name in (EXPERTS, TOWER):
        torch.testing.assert_close(hostile.end[name], START[name] + step)
    torch.testing.assert_close(hostile.rows[TABLE].values, torch.full((2, 2), step))
    assert hostile.end[COUNTER].item() == 4
    assert hostile.examples == EXAMPLES["C"]


def test_each_expert_has_a_bound_of_its_own() -> None:
    spoiled = START[EXPERTS] + 0.1
    spoiled[1] *= 4
    _, hostile, _ = bounded(update("A", 0.1), update("B", 0.1, **{EXPERTS: spoiled}), update("C", 0.1))
    assert torch.equal(hostile.end[EXPERTS][0], spoiled[0])
    torch.testing.assert_close(hostile.end[EXPERTS][1], torch.full((3, 4), 0.2))
    assert torch.equal(hostile.end[TOWER], START[TOWER] + 0.1)


@pytest.mark.parametrize("value", [0.7, -1e3, 1e30, torch.finfo(torch.float32).max])
@pytest.mark.parametrize("part", [EXPERTS, TOWER, TABLE, VARIANCE])
def test_a_scenario_is_left_out_if_one_part_is_far_too_long(part: str, value: float, logged: list[str]) -> None:
    hostile = update("B", 0.1, **{part: torch.full_like(START[part], value) + START[part]})
    assert [one.scenario for one in bounded(update("A", 0.1), hostile, update("C", 0.1))] == ["A", "C"]
    assert "B is left out: its update is" in "".join(logged)


def test_of_two_scenarios_nobody_is_left_out() -> None:
    one, other = bounded(update("A", 0.1), update("B", 1e6))
    assert length(one, EXPERTS) == pytest.approx(length(update("A", 0.1), EXPERTS))
    assert length(other, EXPERTS) == pytest.approx(2 * length(one, EXPERTS))


def test_without_a_multiple_no_length_counts() -> None:
    (_, hostile, _) = updates = [update("A", 0.1), update("B", 1e6), update("C", 0.1)]
    assert torch.equal(bounded(*updates, multiple=0.0)[1].end[EXPERTS], hostile.end[EXPERTS])


def test_a_variance_is_never_negative() -> None:
    spoiled = torch.tensor([-5.0, 0.35, 0.35, 0.35])
    for multiple in (0.0, 2.0):
        hostile = bounded(update("A", 0.1), update("B", 0.1, **{VARIANCE: spoiled}), multiple=multiple)[1]
        assert bool((hostile.end[VARIANCE] >= 0).all())


def test_a_scenario_alone_is_untouched() -> None:
    (alone,) = bounded(update("A", 1e9))
    assert torch.equal(alone.end[EXPERTS], START[EXPERTS] + 1e9)


@pytest.mark.parametrize(("counts", "fit"), [([30, 30], True), ([31, 2], False), ([2, 2**31 - 1], False)])
def test_a_scenario_with_more_uses_of_rows_than_it_registered_is_left_out(counts: list[int], fit: bool) -> None:
    honest = update("A", 0.1)
    claimed = replace(honest, rows={TABLE: replace(honest.rows[TABLE], counts=torch.tensor(counts))})
    found = bounded(claimed, update("B", 0.1))
    assert [one.scenario for one in found] == (["A", "B"] if fit else ["B"])  # one row of each field
    if not fit:
        with pytest.raises(UserError, match="all of them are left out"):
            bounded(claimed)


def test_with_noise_each_row_may_count_once(logged: list[str]) -> None:
    few = replace(update("A", 0.1), examples=1)
    every = replace(few, rows={TABLE: RowUpdate(torch.arange(5), START[TABLE] + 0.1, torch.ones(5, dtype=torch.int64))})
    updates = [every, update("B", 0.1)]
    assert [one.scenario for one in bound_updates(updates, SCENARIOS, TRAIN, Stage.ALL, 2.0)] == ["B"]
    assert len(bound_updates(updates, SCENARIOS, TRAIN, Stage.ALL, 2.0, noisy=True)) == 2
    assert len(logged) == 1


@pytest.mark.parametrize(
    ("stage", "noisy", "share"), [(Stage.ALL, False, 1.0), (Stage.TOWERS, False, 2 / 3), (Stage.ALL, True, 2 / 3)]
)
def test_lengths_are_compared_per_square_root_of_a_step(stage: Stage, noisy: bool, share: float) -> None:
    # of 30, 10 and 60 rows in batches of 10: three steps, one and six
    updates = [update("A", 0.1), update("B", 0.1), update("C", 0.3)]
    train = TrainSettings(batch_size=10)
    *_, last = bound_updates(updates, SCENARIOS, train, stage, 2.0, noisy=noisy)
    assert length(last, EXPERTS) == pytest.approx(share * length(updates[2], EXPERTS))


@pytest.mark.parametrize("changed", [{}, {"train__local_epochs": 1.6, "pf_msmtrec__schedule": "bottom-up"}])
def test_no_figure_of_a_run_changes_while_nobody_exceeds_a_bound(tiny: Tiny, changed: dict[str, float | str]) -> None:
    runs = [tiny.trained(tiny.config("pf-msmtrec", federation__clip=clip, **changed)) for clip in (0.0, 10.0)]
    assert same(runs[0].models, runs[1].models)
    assert runs[0].result.test == runs[1].result.test


@pytest.mark.usefixtures("flower_run")
@pytest.mark.parametrize("method", ["pf-msmtrec", "fedavg", "fedavg-rows", "fedhca2", "mat-fl", "fedamp"])
def test_who_is_left_out_is_absent_to_the_bit(tiny: Tiny, method: str) -> None:
    attacked, without = (strategy_of(tiny.config(method, federation__min_scenarios=2)) for _ in range(2))
    for _ in range(2):
        aggregate(attacked, steps={"A": 0.1, "B": 0.2, "C": -1e6})
        aggregate(without, C={"error": "away"})
        for name in NODES:
            expected = without.parameters.of(name)
            assert expected
            assert all(torch.equal(value, expected[key]) for key, value in attacked.parameters.of(name).items())


def vector(strategy: ScenarioStrategy) -> dict[str, Tensor]:
    return {name: value.double().clone() for name, value in strategy.parameters.common.items()}


@pytest.mark.usefixtures("flower_run")
@settings(max_examples=20)
@given(step=st.floats(-1e14, 1e14))  # admission refuses more
def test_the_mean_moves_no_farther_than_the_stated_bound(step: float) -> None:
    document = {"model": {"embedding_dim": 2, "experts": 2, "expert_layers": [3], "tower_layers": [2]}}
    config = RunConfig.model_validate({"method": "fedavg-rows", **document})
    strategy = strategy_of(config)
    start = vector(strategy)
    steps = {"A": 0.1, "B": 0.2, "C": 0.15}
    aggregate(strategy, steps=steps | {"C": step})
    share = 60 / (30 + 10 + 60)
    for name, value in strategy.parameters.common.items():
        slot = strategy.parameters.slots["A"][name]
        if slot.part not in {Part.EXPERT, Part.GATE}:
            continue
        moved_by = float((value.double() - start[name]).norm())
        size = math.sqrt(value.numel())
        honest = max(steps["A"], steps["B"]) * size
        assert moved_by <= (honest + share * config.federation.clip * honest) * (1 + 1e-5)


@pytest.mark.usefixtures("flower_run")
@pytest.mark.parametrize("average", ["median", "trimmed"])
def test_a_robust_average_stays_within_the_honest_values(tiny: Tiny, average: str) -> None:
    strategy = strategy_of(tiny.config("fedavg-rows", federation__average=average, federation__clip=0.0))
    start = vector(strategy)
    aggregate(strategy, steps={"A": 0.1, "B": 0.2, "C": -1e12})
    for name, value in strategy.parameters.common.items():
        if value.is_floating_point() and name != TABLE and not name.endswith("running_var"):
            torch.testing.assert_close(value.double(), start[name] + 0.1, rtol=0, atol=1e-6)
    torch.testing.assert_close(strategy.parameters.common[TABLE][1].double(), start[TABLE][1] + 0.1, rtol=0, atol=1e-6)
