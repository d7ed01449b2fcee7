from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from federated import FEDAVG, Tiny, same
from torch import Tensor

from pfmsmtrec_flwr.data.batches import Batch, batches
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Tensors
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods import fedala
from pfmsmtrec_flwr.methods.fedala import METHOD, FedALAClient, WeightStep
from pfmsmtrec_flwr.model import HEAD_PARTS, build_model
from pfmsmtrec_flwr.training.local import backward, train_locally, trained_only
from pfmsmtrec_flwr.training.metrics import COUNTS

HIGHER = "towers.of_task.click.0.weight"


def client_in(tiny: Tiny, folder: Path, **settings: Any) -> FedALAClient:
    config = tiny.config("fedala", **settings)
    return FedALAClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(folder / "US"))


def drawn(client: FedALAClient, seed: int) -> Tensors:
    """A global model."""
    names = names_of(client.slots, METHOD.strategy.sharing_of(client.config).common)
    state = build_model(client.model.spec, client.config.model, seed).state_dict()
    return {name: state[name].clone() for name in names}


def exchange(client: FedALAClient, number: int, model: Tensors) -> None:
    parts = METHOD.strategy.sharing_of(client.config).parts
    order = Order(client.config.model_dump_json(), "fedala", number, number, parts=tuple(parts))
    client.train(order, Incoming(model, {}))


def show(client: FedALAClient, number: int, model: Tensors) -> dict[str, Tensor]:
    """Return the aggregated model of an exchange in which nothing is trained."""
    client.validate(Order(client.config.model_dump_json(), "fedala", number, number), Incoming(model, {}))
    return {name: value.detach().clone() for name, value in client.predictor.named_parameters()}


@pytest.mark.parametrize("layers", ["towers", "experts"])
@pytest.mark.parametrize("settings", [{}, {"train__ema_decay": 0.6, "data__train_fraction": 0.5}])
def test_weights_that_stay_at_one_are_fedavg(tiny: Tiny, layers: str, settings: dict[str, Any]) -> None:
    plain = tiny.trained(tiny.config("fedavg", **settings))
    frozen = tiny.trained(tiny.config("fedala", fedala__eta=0.0, fedala__layers=layers, **settings, **FEDAVG))
    learned = tiny.trained(tiny.config("fedala", fedala__layers=layers, **settings, **FEDAVG))
    assert same(plain.models, frozen.models)
    assert not same(plain.models, learned.models)


def test_the_first_model_is_taken_over_as_it_is(tiny: Tiny, tmp_path: Path) -> None:
    client = client_in(tiny, tmp_path)
    model = drawn(client, 1)
    shown = show(client, 1, model)
    assert all(torch.equal(value, model[name]) for name, value in shown.items() if name in model)
    assert not client.weights


def test_higher_layers_are_mixed_and_lower_ones_taken_over(tiny: Tiny, tmp_path: Path) -> None:
    client = client_in(tiny, tmp_path, fedala__eta=100.0, fedala__layers="towers")
    exchange(client, 1, drawn(client, 1))
    local = {name: value.detach().clone() for name, value in client.model.named_parameters()}
    received = drawn(client, 2)
    shown = show(client, 2, received)
    heads = {name for name, slot in client.slots.items() if slot.part in HEAD_PARTS}
    assert set(client.weights) == heads & shown.keys()
    for name, value in shown.items():
        if name in client.weights:
            torch.testing.assert_close(value, torch.lerp(local[name], received[name], client.weights[name]))
        else:
            assert torch.equal(value, received.get(name, local[name]))
    weights = client.weights[HIGHER]
    assert 0 <= float(weights.min()) < float(weights.max()) <= 1  # elements have weights of their own


def test_all_but_tables_may_be_mixed(tiny: Tiny, tmp_path: Path) -> None:
    client = client_in(tiny, tmp_path, fedala__layers="experts")
    tables = {"local_embeddings.weight", "federated_embeddings.weight"}
    assert set(client.higher) == {name for name, _ in client.model.named_parameters()} - tables


def test_one_step_is_the_algorithms(tiny: Tiny, tmp_path: Path) -> None:
    client = client_in(tiny, tmp_path, model__dropout=0.0)
    local, received = drawn(client, 1), drawn(client, 2)
    model = build_model(client.model.spec, client.config.model, 3).train()
    start = {HIGHER: torch.full_like(local[HIGHER], 0.25)}
    generator = torch.Generator().manual_seed(0)
    categorical = torch.randint(0, 4, (12, 3), generator=generator, dtype=torch.int32)
    labels = torch.randint(0, 2, (12, 2), generator=generator).float()
    batch = Batch(categorical, torch.randn(12, 2, generator=generator), labels)
    step = WeightStep(model, local, received, start, eta=5.0)
    mixed = 0.75 * local[HIGHER] + 0.25 * received[HIGHER]
    torch.testing.assert_close(model.get_parameter(HIGHER).detach(), mixed)
    other = build_model(client.model.spec, client.config.model, 3).train()
    with torch.no_grad():
        other.get_parameter(HIGHER).copy_(mixed)
    expected_losses = backward(other, batch, mixed_precision=False)
    gradient = other.get_parameter(HIGHER).grad
    assert gradient is not None
    with trained_only(model, [HIGHER]):
        torch.testing.assert_close(step(batch), expected_losses)
    expected = (0.25 - 5.0 * gradient * (received[HIGHER] - local[HIGHER])).clamp(0, 1)
    torch.testing.assert_close(step.weights[HIGHER], expected)
    assert not torch.equal(step.weights[HIGHER], start[HIGHER])
    torch.testing.assert_close(
        model.get_parameter(HIGHER).detach(), torch.lerp(local[HIGHER], received[HIGHER], expected)
    )


def test_learned_weights_lower_the_loss(tiny: Tiny, tmp_path: Path) -> None:
    losses = {}
    for eta in (0.0, 10.0):
        client = client_in(
            tiny,
            tmp_path / str(eta),
            fedala__eta=eta,
            fedala__layers="towers",
            train__local_epochs=5.0,
            model__dropout=0.0,
        )
        exchange(client, 1, drawn(client, 1))
        show(client, 2, drawn(client, 2))
        (everything,) = batches(client.train_rows, len(client.train_rows))
        losses[eta] = float(backward(client.predictor.train(), everything, mixed_precision=False).sum())
    assert losses[10.0] < losses[0.0]


def test_weights_are_learned_until_they_settle_and_later_for_one_pass(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int | None] = []

    def watch(*args: Any, **more: Any) -> Any:
        steps.append(more["steps"])
        return train_locally(*args, **more)

    monkeypatch.setattr(fedala, "train_locally", watch)
    client = client_in(tiny, tmp_path, fedala__sample=0.5)
    exchange(client, 1, drawn(client, 1))
    assert steps == []
    monkeypatch.setattr(fedala, "STEADY_LOSS", 1e9)
    show(client, 2, drawn(client, 2))
    assert steps == [round(0.5 * len(client.train_rows) / 16)] * 11  # ten passes after the first
    steps.clear()
    monkeypatch.setattr(fedala, "STEADY_LOSS", 0.0)
    exchange(client, 2, drawn(client, 2))
    assert len(steps) == fedala.MOST_PASSES
    steps.clear()
    before = dict(client.weights)
    again = client_in(tiny, tmp_path)
    show(again, 3, drawn(client, 3))
    assert len(steps) == 1
    assert again.weights.keys() == before.keys()


def test_the_weights_go_on_from_the_last_round(tiny: Tiny, tmp_path: Path) -> None:
    client = client_in(tiny, tmp_path, fedala__eta=100.0)
    exchange(client, 1, drawn(client, 1))
    exchange(client, 2, drawn(client, 2))
    kept = {name: value.clone() for name, value in client.weights.items()}
    still = client_in(tiny, tmp_path, fedala__eta=0.0)
    show(still, 3, drawn(client, 3))
    assert all(torch.equal(value, kept[name]) for name, value in still.weights.items())
    assert float(kept[HIGHER].min()) < 1


def test_the_global_model_can_be_measured_too(tiny: Tiny) -> None:
    measured = tiny.trained(
        tiny.config("fedala", fedala__eta=100.0, federation__evaluate_consensus=True, evaluation__calibration="none")
    )
    own = {name for name in measured.result.test["US"] if not name.startswith(COUNTS)}  # which are the same twice
    assert measured.result.consensus["US"].keys() == own
    assert measured.result.consensus["US"] != measured.result.test["US"]
