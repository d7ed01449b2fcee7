from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from federated import Tiny, same
from replies import unpack_replies

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import TRAIN, Incoming, Order
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods import client_of
from pfmsmtrec_flwr.methods.mr_mtl import METHOD, MRMTLClient
from pfmsmtrec_flwr.model import build_model
from pfmsmtrec_flwr.training.metrics import COUNTS


@pytest.mark.parametrize(
    "settings",
    [
        {"train__optimizer_state": "keep"},
        {"train__optimizer_state": "reset"},
        {"train__ema_decay": 0.6, "data__train_fraction": 0.5, "train__reestimate_batch_norm": False},
    ],
)
def test_without_a_pull_scenarios_train_alone(tiny: Tiny, settings: dict[str, Any]) -> None:
    alone = tiny.trained(tiny.config("alone", **settings))
    free = tiny.trained(tiny.config("mr-mtl", mr_mtl__lam=0.0, **settings))
    assert same(alone.models, free.models)
    assert alone.result.test == free.result.test
    pulled = tiny.trained(tiny.config("mr-mtl", mr_mtl__lam=1.0, **settings))
    assert not same(alone.models, pulled.models)


def test_all_scenarios_are_sent_the_mean_of_their_models(tiny: Tiny) -> None:
    run = tiny.trained(tiny.config("mr-mtl", federation__rounds=1))
    sent, examples = {}, {}
    for message in run.grid.replies:
        if message.metadata.message_type == TRAIN:
            for name, reply in unpack_replies(message.content).items():
                sent[name], examples[name] = reply.parameters, float(reply.figures["examples"])
    assert not run.strategy.parameters.personal["US"]
    for name in (name for name, value in sent["US"].items() if value.is_floating_point()):
        mean = sum(examples[one] * sent[one][name].double() for one in sent) / sum(examples.values())
        torch.testing.assert_close(run.strategy.parameters.common[name].double(), mean, rtol=1e-5, atol=1e-6)


def test_an_infinite_pull_leaves_one_model(tiny: Tiny) -> None:
    # Every model ends at the mean that it received, and the mean of these is the mean.
    run = tiny.trained(tiny.config("mr-mtl", mr_mtl__lam=1e9))
    learned = [name for name in run.models["US"] if name.endswith("weight") and "local_embeddings" not in name]
    assert learned
    for name in learned:
        torch.testing.assert_close(run.models["US"][name], run.models["FR"][name], rtol=0, atol=1e-4)


def test_a_strong_pull_brings_a_model_to_the_mean(tiny: Tiny, tmp_path: Path) -> None:
    near, far = (to_mean(tiny, tmp_path, weight) for weight in (1e4, 0.0))
    assert far["local_embeddings.weight"] > 0
    assert all(near[name] < 0.2 * far[name] for name in near if name != "local_embeddings.weight")


def to_mean(tiny: Tiny, folder: Path, weight: float) -> dict[str, float]:
    """Train two rounds with another mean in the second; how far the own model's parameters are then from that mean."""
    config = tiny.config("mr-mtl", mr_mtl__lam=weight, train__local_epochs=10.0, model__dropout=0.0)
    client = MRMTLClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(folder / str(weight)))
    parts = METHOD.strategy.sharing_of(config).parts
    names = names_of(client.slots, parts)
    for number, seed in ((1, 0), (2, 8)):
        start = build_model(client.model.spec, config.model, seed).state_dict()
        order = Order(config.model_dump_json(), "mr-mtl", number, number, parts=tuple(parts))
        client.train(order, Incoming({name: start[name].clone() for name in names}, {}))
    own = client.predictor.named_parameters()
    return {name: float(torch.dist(value.detach(), start[name])) for name, value in own}


def test_a_model_goes_on_where_it_was_not_at_the_mean(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("mr-mtl")
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    first = MRMTLClient(store, config, LocalState(tmp_path / "US"))
    parts = METHOD.strategy.sharing_of(config).parts
    start = build_model(first.model.spec, config.model, config.seed).state_dict()
    mean = {name: start[name].clone() for name in names_of(first.slots, parts)}
    first.train(Order(config.model_dump_json(), "mr-mtl", 1, 1, parts=tuple(parts)), Incoming(mean, {}))
    left = {name: value.clone() for name, value in first.model.named_parameters()}
    second = MRMTLClient(store, config, LocalState(tmp_path / "US"))
    second.validate(Order(config.model_dump_json(), "mr-mtl", 2, 2), Incoming(mean, {}))
    assert all(torch.equal(value, left[name]) for name, value in second.predictor.named_parameters())
    moved = [name for name, value in left.items() if name in mean and not torch.equal(value, mean[name])]
    assert "federated_embeddings.weight" in moved


def test_the_mean_can_be_measured_too(tiny: Tiny) -> None:
    measured = tiny.trained(tiny.config("mr-mtl", federation__evaluate_consensus=True, evaluation__calibration="none"))
    own = {name for name in measured.result.test["US"] if not name.startswith(COUNTS)}
    assert measured.result.consensus["US"].keys() == own
    assert measured.result.consensus["US"] != measured.result.test["US"]


def test_its_clients_are_its_own() -> None:
    assert client_of("mr-mtl") is MRMTLClient
