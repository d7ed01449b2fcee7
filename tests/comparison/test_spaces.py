from __future__ import annotations

import math

import pytest

from pfmsmtrec_flwr.comparison.spaces import (
    ADAGRAD,
    COMMON,
    ROUNDS,
    combinations,
    own_settings_in,
    size,
    space_of,
    value_of,
)
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.methods import METHODS, find_method
from pfmsmtrec_flwr.methods.base import Range

NEAR = {"train.batch_size", "train.local_epochs"}


def config(**settings: float | str) -> RunConfig:
    return RunConfig().with_settings({key.replace("__", "."): value for key, value in settings.items()}, "test")


def test_a_network_has_the_common_choices_its_own_value_first() -> None:
    space = space_of(find_method("alone"), config(train__lr=0.002, train__batch_size=64, train__ema_decay=0.7))
    assert space == {
        "train.lr": Range(0.0005, 0.016, log=True),
        "train.min_steps": (0, 24),
        "train.weight_decay": (0.0, 1e-6, 1e-5, 1e-4),
        "train.ema_decay": (0.7, 0.0, 0.5, 0.9),
        "train.batch_size": (64, 32, 128),
        "train.local_epochs": (1.0, 0.5, 2.0),
        "train.optimizer_state": ("reset", "keep"),
        "model.dropout": Range(0.0, 0.5),
        "model.embedding_dropout": Range(0.0, 0.7),
    }


def test_a_range_grows_to_take_in_the_configurations_own_value() -> None:
    made = config(train__lr=0.05, model__embedding_dropout=0.9)
    space = space_of(find_method("alone"), made)
    assert space["train.lr"] == Range(0.0005, 0.05, log=True)
    assert space["model.embedding_dropout"] == Range(0.0, 0.9)
    own = own_settings_in(space, made)
    assert own.keys() == space.keys()
    assert (own["train.lr"], own["train.batch_size"], own["train.optimizer_state"]) == (0.05, 1024, "reset")


def test_batches_cannot_be_halved_for_ever() -> None:
    assert space_of(find_method("alone"), config(train__batch_size=2))["train.batch_size"] == (2, 4)


def test_a_method_adds_its_own_choices() -> None:
    own = find_method("fedprox").space
    assert own
    space = space_of(find_method("fedprox"), find_method("fedprox").configure(RunConfig()))
    assert space.keys() == {*COMMON, *NEAR, *ROUNDS, *own}
    for key, values in own.items():
        assert set(values) <= set(space[key])


def test_adagrads_rate_is_tuned_where_there_is_adagrad() -> None:
    space = space_of(find_method("alone"), config(train__embedding_optimizer="adagrad", train__embedding_lr=0.1))
    assert space.keys() == {*COMMON, *NEAR, *ADAGRAD, *ROUNDS}
    assert space["train.embedding_lr"] == Range(0.01, 0.2, log=True)


def test_every_network_has_the_same_choices_but_for_what_it_fixes() -> None:
    for method in METHODS.values():
        made = method.configure(RunConfig())
        tuned = space_of(method, made).keys() - method.space.keys()
        expected = set() if method.family == "floor" else {*COMMON, *NEAR}
        expected |= {"alone": {*ROUNDS}, "federated": {*ROUNDS}}.get(method.family, set())
        assert tuned == expected - method.fixed.keys() - method.space.keys(), method.name


def test_no_network_has_nothing_but_its_own_choices() -> None:
    assert space_of(find_method("base-rate"), RunConfig()) == {}
    logistic = find_method("logistic-alone")
    assert space_of(logistic, logistic.configure(RunConfig())) == {
        "C": (0.1, 0.001, 0.01, 1.0),
        "encode_above": (32, 0, 8),
        "smoothing": (0.0, 5.0, 20.0),
    }


def test_what_is_pinned_is_not_tuned() -> None:
    space = space_of(find_method("alone"), RunConfig(), {"train.lr", "federation.rounds"})
    assert "train.lr" not in space
    assert "train.weight_decay" in space
    fedprox = find_method("fedprox")
    for pinned, left_out in (("fedprox.mu", "mu"), ("fedprox.train.lr", "train.lr"), ("train.lr", "train.lr")):
        own = fedprox.configure(RunConfig())
        assert space_of(fedprox, own).keys() - space_of(fedprox, own, {pinned}).keys() == {left_out}
    assert space_of(fedprox, own, {"ditto.mu", "fedavg.train.lr"}) == space_of(fedprox, own)


def test_combinations_begin_with_the_configuration_itself() -> None:
    space = {"train.lr": (0.002, 0.001), "model.dropout": (0.1, 0.2, 0.3)}
    made = list(combinations(space))
    assert made[0] == {"train.lr": 0.002, "model.dropout": 0.1}
    assert len(made) == size(space) == 6
    assert len({tuple(each.items()) for each in made}) == 6
    assert (list(combinations({})), size({})) == ([{}], 1)
    assert size({**space, "train.lr": Range(0.0, 1.0)}) == math.inf


def test_only_single_values_are_tuned() -> None:
    assert value_of(RunConfig(), "train.lr") == 0.001
    with pytest.raises(TypeError, match=r"model\.expert_layers is \(64, 32\), which is no single value"):
        value_of(RunConfig(), "model.expert_layers")
