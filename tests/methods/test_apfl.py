from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from federated import FEDAVG, Tiny, same
from torch import Tensor

from pfmsmtrec_flwr.config import Settings, TrainSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.methods.apfl import APFLClient, Mixture, MixtureStep
from pfmsmtrec_flwr.model import build_model
from pfmsmtrec_flwr.training.description import model_spec
from pfmsmtrec_flwr.training.local import backward
from pfmsmtrec_flwr.training.objective import task_losses

FIXED = {"apfl__alpha_lr": 0.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"train__optimizer_state": "keep"},
        {"train__optimizer_state": "reset"},
        {"train__ema_decay": 0.6, "data__train_fraction": 0.5},
    ],
)
@pytest.mark.parametrize(("share", "other"), [(0.0, "fedavg"), (1.0, "alone")])
def test_a_fixed_share_of_none_or_all_is_another_method(
    tiny: Tiny, share: float, other: str, settings: dict[str, Any]
) -> None:
    # FedAvg fixes these otherwise.
    estimated: Settings = {"federation.tables": "rows", "train.reestimate_batch_norm": True}
    expected = tiny.trained(tiny.config(other, **settings).with_settings(estimated, "test"))
    mixed = tiny.trained(tiny.config("apfl", apfl__alpha=share, **FIXED, **settings))
    assert same(expected.models, mixed.models)
    assert expected.result.test == mixed.result.test
    assert [record.validation for record in expected.result.rounds] == [r.validation for r in mixed.result.rounds]


@pytest.mark.parametrize("settings", [{}, {"apfl__alpha": 1.0}])
def test_the_global_model_is_fedavgs(tiny: Tiny, settings: dict[str, float]) -> None:
    average = tiny.trained(tiny.config("fedavg"))
    mixed = tiny.trained(tiny.config("apfl", **FEDAVG, **settings))
    assert same({"w": average.strategy.parameters.common}, {"w": mixed.strategy.parameters.common})
    assert [record.losses for record in average.result.rounds] == [record.losses for record in mixed.result.rounds]


@pytest.fixture
def mixture(tiny: Tiny) -> Mixture:
    spec = model_spec(ScenarioStore.open(tiny.root / "tiny" / "US"))
    settings = tiny.config(model__dropout=0.0).model
    w, v, mixed = (build_model(spec, settings, seed) for seed in (1, 2, 3))
    return Mixture(w, v, mixed, 0.25)


def batch_of(rows: int = 12) -> Batch:
    generator = torch.Generator().manual_seed(0)
    categorical = torch.randint(0, 4, (rows, 3), generator=generator, dtype=torch.int32)
    labels = torch.randint(0, 2, (rows, 2), generator=generator).float()
    return Batch(categorical, torch.randn(rows, 2, generator=generator), labels)


def stepped(mixture: Mixture, lr: float, share_lr: float) -> None:
    settings = TrainSettings(lr=lr)
    optimizers = tuple(torch.optim.SGD(model.parameters(), lr=lr) for model in (mixture.travelling, mixture.own))
    step = MixtureStep(mixture, cast(Any, optimizers), settings, share_lr)
    mixture.travelling.train()
    step(batch_of())


def test_one_step_is_the_algorithms(mixture: Mixture) -> None:
    w = {name: value.detach().clone() for name, value in mixture.travelling.named_parameters()}
    v = {name: value.detach().clone() for name, value in mixture.own.named_parameters()}

    def gradient(share: float) -> dict[str, Tensor]:
        """At ``share * v + (1 - share) * w``."""
        model = build_model(mixture.mixed.spec, mixture.mixed.settings, 0).train()
        model.load_state_dict({name: share * v[name] + (1 - share) * w[name] for name in w}, strict=False)
        backward(model, batch_of(), mixed_precision=False)
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    at_w, at_mixture = gradient(0.0), gradient(0.25)
    slope = sum(float(((v[name] - w[name]) * at_mixture[name]).sum()) for name in w)
    stepped(mixture, lr=0.1, share_lr=0.05)
    for name in w:
        travelling, own = mixture.travelling.get_parameter(name), mixture.own.get_parameter(name)
        torch.testing.assert_close(travelling.detach(), w[name] - 0.1 * at_w[name])
        torch.testing.assert_close(own.detach(), v[name] - 0.1 * 0.25 * at_mixture[name])
    assert abs(slope) > 0.01
    assert mixture.share == pytest.approx(0.25 - 0.05 * slope, rel=1e-4)


def test_the_slope_is_the_losss_derivative_by_the_share(mixture: Mixture) -> None:
    for model in (mixture.travelling, mixture.own, mixture.mixed):
        model.double().train()
    batch = batch_of()

    def loss(share: float) -> float:
        mixture.share = share
        mixture.update()
        mixture.mixed.zero_grad()
        losses = task_losses(mixture.mixed(batch.categorical, batch.numeric.double()), batch.labels.double())
        losses.sum().backward()  # type: ignore[no-untyped-call]
        return float(losses.detach().sum())

    difference = (loss(0.25 + 1e-5) - loss(0.25 - 1e-5)) / 2e-5
    loss(0.25)
    assert mixture.slope() == pytest.approx(difference, rel=1e-5)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_share_stays_between_none_and_all(mixture: Mixture, swapped: bool) -> None:
    if swapped:
        mixture.share, mixture.travelling, mixture.own = 0.75, mixture.own, mixture.travelling
    stepped(mixture, lr=1e-6, share_lr=1e6)
    assert mixture.share == (1.0 if swapped else 0.0)  # the same point, and the better model is the other one


def test_v_moves_by_its_share_of_the_gradient(mixture: Mixture) -> None:
    for parameter in mixture.mixed.parameters():
        parameter.grad = torch.full_like(parameter, 4.0)
    mixture.pass_gradient()
    assert all(torch.equal(v.grad, torch.ones_like(v)) for v in mixture.own.parameters() if v.grad is not None)
    assert all(v.grad is not None for v in mixture.own.parameters())


def test_what_the_scenario_learned_is_remembered(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("apfl", apfl__alpha_lr=0.5)
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    first = APFLClient(store, config, LocalState(tmp_path / "US"))
    first.train(Order(config.model_dump_json(), "apfl", 1, 1), Incoming({}, {}))
    own = first.state.load(1).scope("own")
    assert own.figures["share"] == first.mixture.share != 0.5
    second = APFLClient(store, config, LocalState(tmp_path / "US"))
    second.validate(Order(config.model_dump_json(), "apfl", 2, 2), Incoming({}, {}))
    assert second.mixture.share == first.mixture.share
    for name, value in first.mixture.own.named_parameters():
        w = first.mixture.travelling.get_parameter(name)
        assert torch.equal(second.mixture.own.get_parameter(name), value)
        expected = torch.lerp(w, value, second.mixture.share)
        assert torch.equal(second.predictor.get_parameter(name), expected)


def test_both_models_are_trained(tiny: Tiny, tmp_path: Path) -> None:
    # Guards the test above from a v that is but w: after one round they differ, as they took other gradients.
    config = tiny.config("apfl")
    client = APFLClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(tmp_path / "US"))
    client.train(Order(config.model_dump_json(), "apfl", 1, 1), Incoming({}, {}))
    own, travelling = client.mixture.own, client.model
    assert any(not torch.equal(v, w) for v, w in zip(own.parameters(), travelling.parameters(), strict=True))
