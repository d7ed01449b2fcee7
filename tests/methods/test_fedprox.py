from __future__ import annotations

from pathlib import Path

import pytest
import torch
from federated import FEDAVG, Tiny, same
from torch import Tensor

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods import client_of
from pfmsmtrec_flwr.methods.fedprox import METHOD, FedProxClient, FedProxSettings
from pfmsmtrec_flwr.model import build_model


def test_without_a_pull_it_is_fedavg(tiny: Tiny) -> None:
    plain = tiny.trained(tiny.config("fedavg"))
    free = tiny.trained(tiny.config("fedprox", fedprox__mu=0.0, **FEDAVG))
    pulled = tiny.trained(tiny.config("fedprox", fedprox__mu=0.5, **FEDAVG))
    assert same(plain.models, free.models)
    assert plain.result.test == free.result.test
    assert not same(plain.models, pulled.models)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_a_strong_pull_keeps_all_that_was_received_near(tiny: Tiny, tmp_path: Path, optimizer: str) -> None:
    moved = {weight: trained(tiny, tmp_path, weight, optimizer) for weight in (0.0, 100.0, 1e9)}
    assert moved[0.0].keys() == moved[100.0].keys()
    for name, distance in moved[0.0].items():
        if name.startswith("local_embeddings"):
            assert distance > 0
            assert moved[1e9][name] > 0.1 * distance
        else:
            assert moved[100.0][name] < 0.5 * distance, name
            assert moved[1e9][name] < 1e-4  # no weight is too large


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_by_default_it_moves_about_as_far_as_fedavg(tiny: Tiny, tmp_path: Path, optimizer: str) -> None:
    free, default = (trained(tiny, tmp_path, weight, optimizer) for weight in (0.0, FedProxSettings().mu))
    weights = [name for name in free if name.endswith("weight")]  # biases below normalization have no gradient
    assert weights
    assert all(0.9 * free[name] < default[name] for name in weights)


def trained(tiny: Tiny, folder: Path, weight: float, optimizer: str) -> dict[str, float]:
    """Train one round of 60 small steps; how far each parameter is then from what it was."""
    settings = {"train__local_epochs": 20.0, "train__lr": 0.002, "model__dropout": 0.0}
    config = tiny.config("fedprox", fedprox__mu=weight, train__embedding_optimizer=optimizer, **settings)
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    client = FedProxClient(store, config, LocalState(folder / str(weight)))
    parts = METHOD.strategy.sharing_of(config).parts
    start: dict[str, Tensor] = build_model(client.model.spec, config.model, config.seed).state_dict()
    common = {name: start[name].clone() for name in names_of(client.slots, parts)}
    client.train(Order(config.model_dump_json(), "fedprox", 1, 1, parts=tuple(parts)), Incoming(common, {}))
    return {name: float(torch.dist(value.detach(), start[name])) for name, value in client.model.named_parameters()}


def test_its_clients_are_its_own() -> None:
    assert client_of("fedprox") is FedProxClient
