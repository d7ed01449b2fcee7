from __future__ import annotations

from typing import Any

import pytest
import torch
from federated import Tiny

from pfmsmtrec_flwr.central.pool import pool_rows
from pfmsmtrec_flwr.central.pooled import PooledTraining, train_pooled
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import build_model, output_biases, partition
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.batchnorm import refresh_statistics
from pfmsmtrec_flwr.training.evaluation import measure, predict
from pfmsmtrec_flwr.training.local import GradientStep, train_locally
from pfmsmtrec_flwr.training.metrics import flat_figures
from pfmsmtrec_flwr.training.optimizers import make_optimizer
from pfmsmtrec_flwr.training.records import RoundRecord, TrainingResult

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stores(tiny: Tiny) -> list[ScenarioStore]:
    return [ScenarioStore.open(tiny.root / "tiny" / name) for name in ("FR", "US")]


def config(tiny: Tiny, architecture: str = "mmoe", **settings: Any) -> RunConfig:
    own = {"model__architecture": architecture, "evaluation__calibration": "none"}
    return tiny.config(**own | settings)


def figures(result: TrainingResult) -> list[Any]:
    return [result.test, result.selected, [record.validation for record in result.rounds]]


def test_it_is_one_continuous_training_on_all_rows(tiny: Tiny, stores: list[ScenarioStore]) -> None:
    """Comparison with the loop written out: one optimiser, two rounds, each with its own statistics."""
    settings = config(tiny, federation__selection="macro")
    pool = pool_rows(stores, settings)
    model = build_model(pool.spec, settings.model, settings.seed)
    positives = [sum(store.positives("train")[task] for store in stores) for task in (0, 1)]
    biases = output_biases("mmoe", partition(model).values(), ("click", "like"), positives, [112, 112])
    model.load_state_dict(model.state_dict() | biases)
    step = GradientStep(model, make_optimizer(model, settings.train), settings.train)
    expected = []
    for number in (1, 2):
        seeds = [derive_seed(settings.seed, draw, number, "pooled") for draw in ("train", "statistics")]
        report = train_locally(step, pool.splits["train"], settings.train, seed=seeds[0], device=CPU)
        assert (report.examples, report.steps) == (112, 7)
        refresh_statistics(model, pool.splits["train"], settings.train, seed=seeds[1], device=CPU)
        tests = {}
        for store in stores:
            rows = pool.of("test", store.scenario)
            tests[store.scenario] = flat_figures(measure(predict(model, rows, CPU), rows, store.tasks, grouped=True))
        expected.append(tests)
    result = train_pooled(settings, stores)
    assert expected[0] != expected[1]
    (selected,) = set(result.selected.values())
    assert result.test == expected[selected - 1]


def test_each_scenario_is_tested_with_the_model_of_its_own_best_round(tiny: Tiny, stores: list[ScenarioStore]) -> None:
    settings = config(tiny, federation__rounds=12, train__lr=0.05)
    result = train_pooled(settings, stores)
    assert len(set(result.selected.values())) == 2  # otherwise the test shows nothing
    for name, best in result.selected.items():
        scores = [record.score(name) for record in result.rounds]
        assert scores.index(max(score for score in scores if score is not None)) == best - 1
        training = PooledTraining(settings, pool_rows(stores, settings))
        for number in range(1, best + 1):
            training.run_round(number)
        rows = training.pool.of("test", name)
        again = measure(predict(training.model, rows, CPU), rows, training.pool.spec.tasks, grouped=True)
        assert result.test[name] == flat_figures(again)


def test_with_a_memory_the_mean_over_the_rounds_is_measured(tiny: Tiny, stores: list[ScenarioStore]) -> None:
    plain = config(tiny, federation__rounds=3, train__reestimate_batch_norm=False)
    averaged = plain.with_settings({"train.ema_decay": 0.6}, "test")
    one, other = (PooledTraining(settings, pool_rows(stores, settings)) for settings in (plain, averaged))
    assert one.predictor is one.model
    expected: dict[str, torch.Tensor] = {}
    tests: dict[tuple[str, int], dict[str, float]] = {}
    for number, share in ((1, 0.0), (2, 0.5), (3, 0.6)):
        assert one.run_round(number).losses == other.run_round(number).losses
        state = {name: value.clone() for name, value in one.model.state_dict().items()}
        before = expected or state
        expected = {
            name: share * before[name] + (1 - share) * value if value.is_floating_point() else value
            for name, value in state.items()
        }
        torch.testing.assert_close(other.predictor.state_dict(), expected)
        for name in ("FR", "US"):
            rows = other.pool.of("test", name)
            figures = measure(predict(other.predictor, rows, CPU), rows, other.pool.spec.tasks, grouped=True)
            tests[name, number] = flat_figures(figures)
    assert all(torch.equal(value, other.model.state_dict()[name]) for name, value in one.model.state_dict().items())
    mean = train_pooled(averaged, stores)
    assert mean.test == {name: tests[name, number] for name, number in mean.selected.items()}
    assert mean.test != train_pooled(plain, stores).test


def test_rounds_are_told_and_early_stopping_ends_them(tiny: Tiny, stores: list[ScenarioStore]) -> None:
    told: list[RoundRecord] = []
    result = train_pooled(
        config(tiny, federation__rounds=30, federation__patience=2, train__lr=0.05), stores, told.append
    )
    assert told == result.rounds
    assert [record.round for record in told] == list(range(1, len(told) + 1))
    scores = [sum(record.score(name) or 0.0 for name in ("FR", "US")) for record in told]
    assert len(told) == scores.index(max(scores)) + 1 + 2 < 30
    assert all(record.up_bytes == record.down_bytes == 0 for record in told)
    assert list(told[0].validation["US"]) == ["click", "like"]
    assert told[0].losses["FR"] == told[0].losses["US"] > 0


def test_the_seed_is_all_that_chance_has(tiny: Tiny, stores: list[ScenarioStore]) -> None:
    one, again, other = (train_pooled(config(tiny, seed=seed), stores) for seed in (1, 1, 2))
    assert figures(one) == figures(again)
    assert figures(one) != figures(other)


def test_statistics_are_estimated_again_only_if_asked_for(tiny: Tiny, stores: list[ScenarioStore]) -> None:
    one, other = (train_pooled(config(tiny, train__reestimate_batch_norm=wanted), stores) for wanted in (True, False))
    assert one.rounds[0].losses == other.rounds[0].losses
    assert one.rounds[0].validation != other.rounds[0].validation


@pytest.mark.parametrize("architecture", ["shared-bottom", "ple", "aitm", "star", "pepnet", "stem", "m3oe"])
def test_every_architecture_is_trained(tiny: Tiny, stores: list[ScenarioStore], architecture: str) -> None:
    result = train_pooled(config(tiny, architecture).with_settings({"model.experts": 3}, "test"), stores)
    assert result.test.keys() == {"FR", "US"}
    assert result.test != train_pooled(config(tiny), stores).test


def test_a_training_that_diverges_is_told(tiny: Tiny, stores: list[ScenarioStore]) -> None:
    with pytest.raises(UserError, match=r"^pooled rows, round 1: the training loss became .*lower train\.lr"):
        train_pooled(config(tiny, train__lr=1e38), stores)
