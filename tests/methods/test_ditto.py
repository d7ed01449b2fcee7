from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from federated import FEDAVG, Tiny, same

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.ditto import METHOD, DittoClient
from pfmsmtrec_flwr.model import build_model
from pfmsmtrec_flwr.training.metrics import COUNTS

FREE = {"ditto__lam": 0.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"train__optimizer_state": "keep"},
        {"train__optimizer_state": "reset"},
        {"train__ema_decay": 0.6, "data__train_fraction": 0.5, "train__reestimate_batch_norm": False},
    ],
)
def test_without_a_pull_the_personal_models_train_alone(tiny: Tiny, settings: dict[str, Any]) -> None:
    alone = tiny.trained(tiny.config("alone", **settings))
    free = tiny.trained(tiny.config("ditto", **settings, **FREE))
    assert same(alone.models, free.models)
    assert alone.result.test == free.result.test
    assert alone.result.selected == free.result.selected
    assert [record.validation for record in alone.result.rounds] == [r.validation for r in free.result.rounds]


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_global_model_is_fedavgs(tiny: Tiny, weight: float) -> None:
    # Without re-estimation the statistics are those of training, in both; with it FedAvg's client has measured w's.
    average = tiny.trained(tiny.config("fedavg"))
    ditto = tiny.trained(tiny.config("ditto", **FEDAVG, ditto__lam=weight))
    assert same({"w": average.strategy.parameters.common}, {"w": ditto.strategy.parameters.common})
    assert [record.losses for record in average.result.rounds] == [record.losses for record in ditto.result.rounds]
    assert not same(average.models, ditto.models)


def test_a_strong_pull_keeps_a_personal_model_near_the_global_one(tiny: Tiny, tmp_path: Path) -> None:
    near, at, far = (distances(tiny, tmp_path, weight) for weight in (100.0, 1e9, 0.0))
    assert far["local_embeddings.weight"] > 0  # free in all
    assert all(near[name] < 0.5 * far[name] for name in near if name != "local_embeddings.weight")
    assert all(at[name] < 1e-4 for name in at if name != "local_embeddings.weight")  # no weight is too large


def distances(tiny: Tiny, folder: Path, weight: float) -> dict[str, float]:
    """Train one round of 60 small steps; how far each personal parameter is then from the received ones."""
    config = tiny.config("ditto", ditto__lam=weight, train__local_epochs=20.0, train__lr=0.002, model__dropout=0.0)
    client = DittoClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(folder / str(weight)))
    parts = METHOD.strategy.sharing_of(config).parts
    start = build_model(client.model.spec, config.model, config.seed).state_dict() | client.base_rates()
    common = {name: start[name].clone() for name in names_of(client.slots, parts)}
    client.train(Order(config.model_dump_json(), "ditto", 1, 1, parts=tuple(parts)), Incoming(common, {}))
    return {name: float(torch.dist(value.detach(), start[name])) for name, value in client.personal.named_parameters()}


def test_personal_models_go_on_where_they_were(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("ditto", **FREE)
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    first = DittoClient(store, config, LocalState(tmp_path / "US"))
    first.train(Order(config.model_dump_json(), "ditto", 1, 1), Incoming({}, {}))
    left = {name: value.clone() for name, value in first.personal.state_dict().items()}
    second = DittoClient(store, config, LocalState(tmp_path / "US"))
    moved = {name: torch.zeros_like(value) for name, value in second.received(Incoming(left, {})).items()}
    second.validate(Order(config.model_dump_json(), "ditto", 2, 2), Incoming(moved, {}))
    learned = [name for name, _ in second.personal.named_parameters()]
    assert all(torch.equal(second.personal.state_dict()[name], left[name]) for name in learned)
    assert all(float(value.detach().abs().max()) == 0 for value in second.model.parameters())


def test_the_global_model_can_be_measured_too(tiny: Tiny) -> None:
    measured = tiny.trained(tiny.config("ditto", federation__evaluate_consensus=True, evaluation__calibration="none"))
    own = {name for name in measured.result.test["US"] if not name.startswith(COUNTS)}  # which are the same twice
    assert measured.result.consensus["US"].keys() == own
    assert measured.result.consensus["US"] != measured.result.test["US"]
    assert tiny.trained(tiny.config("ditto")).result.consensus == {"FR": {}, "US": {}}
