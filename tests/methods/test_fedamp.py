from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from federated import Tiny, same
from replies import unpack_replies
from torch import Tensor

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import TRAIN, Incoming, Order, Stage
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.fedamp import METHOD, FedAMP, FedAMPClient
from pfmsmtrec_flwr.model import TOWER_PARTS, Part, build_model

ATTENDED = {Part.EXPERT, Part.GATE, *TOWER_PARTS}
LOCAL_TABLES = {"federation__tables": "local"}


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
    free = tiny.trained(tiny.config("fedamp", fedamp__lam_over_alpha=0.0, **settings, **LOCAL_TABLES))
    assert same(alone.models, free.models)
    assert alone.result.test == free.result.test
    pulled = tiny.trained(tiny.config("fedamp", fedamp__lam_over_alpha=0.5, **settings, **LOCAL_TABLES))
    assert not same(alone.models, pulled.models)


def test_each_scenario_is_sent_a_mixture_of_the_models(tiny: Tiny) -> None:
    run = tiny.trained(tiny.config("fedamp", federation__rounds=1, fedamp__self_weight=0.7))
    sent: dict[str, dict[str, Tensor]] = {}
    for message in run.grid.replies:
        if message.metadata.message_type == TRAIN:
            sent |= {name: reply.parameters for name, reply in unpack_replies(message.content).items()}
    slots = run.strategy.parameters.slots["US"]
    assert {slots[name].part for name in sent["US"]} == ATTENDED
    other = 0.3  # two have the same distance to each other, whatever it is
    for own, friend in (("FR", "US"), ("US", "FR")):
        for name, value in run.strategy.parameters.personal[own].items():
            expected = (1 - other) * sent[own][name] + other * sent[friend][name]
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert {slots[name].part for name in run.strategy.parameters.common} == {Part.FEDERATED_EMBEDDING}


def update_of(scenario: str, **tensors: list[float]) -> ScenarioUpdate:
    return ScenarioUpdate(scenario, 1, {}, {name: torch.tensor(value) for name, value in tensors.items()}, {}, {})


def test_like_models_are_mixed_more_and_one_that_is_silent_still_counts(tiny: Tiny) -> None:
    strategy = FedAMP(tiny.config("fedamp", fedamp__self_weight=0.6, fedamp__sigma=0.5))
    strategy.parameters.personal = {name: {} for name in "ABC"}
    strategy.aggregate(
        Stage.ALL,
        [update_of("A", x=[0.0, 0.0], t=[1.0]), update_of("B", x=[0.0, 1.0]), update_of("C", x=[4.0, 0.0], t=[3.0])],
    )
    given = strategy.parameters.personal
    first = {name: tensors["x"].clone() for name, tensors in given.items()}
    assert first["A"][1] > first["A"][0] / 4 > 0  # A is nearer to B than to C
    assert given["B"].keys() == {"x"}
    assert float(given["A"]["t"]) - 1 == pytest.approx(3 - float(given["C"]["t"]), abs=1e-6)  # the two that have it
    assert 1 < float(given["A"]["t"]) < 2
    strategy.aggregate(Stage.ALL, [update_of("A", x=[4.0, 0.0], t=[1.0])])
    again = strategy.parameters.personal
    assert again["A"]["x"][0] > 3.5
    # B and C said nothing, but A has become like C.
    assert not torch.equal(again["B"]["x"], first["B"])
    assert again["C"]["x"][0] > first["C"][0]


def test_a_strong_pull_brings_a_model_to_its_mixture(tiny: Tiny, tmp_path: Path) -> None:
    near, far = (to_mixture(tiny, tmp_path, weight) for weight in (1e4, 0.0))
    assert all(near[name] < 0.5 * far[name] for name in near)


def to_mixture(tiny: Tiny, folder: Path, weight: float) -> dict[str, float]:
    """Train a second round of 150 steps towards another mixture; how far its parameters are then from the own model."""
    config = tiny.config("fedamp", fedamp__lam_over_alpha=weight, train__local_epochs=50.0, model__dropout=0.0)
    parts = METHOD.strategy.sharing_of(config).personal
    client = FedAMPClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(folder / str(weight)))
    start = build_model(client.model.spec, config.model, 8).state_dict()
    mixture = {name: start[name].clone() for name in names_of(client.slots, parts)}
    for number in (1, 2):
        order = Order(config.model_dump_json(), "fedamp", number, number, parts=tuple(parts))
        reply = client.train(order, Incoming({}, {"US": mixture}))
    return {name: float(torch.dist(value, mixture[name])) for name, value in reply.parameters.items()}


def test_a_model_goes_on_where_it_was_not_at_its_mixture(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config("fedamp")
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    first = FedAMPClient(store, config, LocalState(tmp_path / "US"))
    parts = METHOD.strategy.sharing_of(config).personal
    order = Order(config.model_dump_json(), "fedamp", 1, 1, parts=tuple(parts))
    start = build_model(first.model.spec, config.model, config.seed).state_dict()
    mixture = {name: start[name].clone() for name in names_of(first.slots, parts)}
    left = first.train(order, Incoming({}, {"US": mixture})).parameters
    second = FedAMPClient(store, config, LocalState(tmp_path / "US"))
    second.validate(Order(config.model_dump_json(), "fedamp", 2, 2), Incoming({}, {"US": mixture}))
    state = second.predictor.state_dict()
    assert left.keys() == mixture.keys()
    assert all(torch.equal(state[name], value) for name, value in left.items())
