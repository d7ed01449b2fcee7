from __future__ import annotations

import pytest

from pfmsmtrec_flwr.comparison.spaces import ADAGRAD, COMMON, combinations, size, space_of, value_of
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.methods import find_method


def config(**settings: float | str) -> RunConfig:
    return RunConfig().with_settings({key.replace("__", "."): value for key, value in settings.items()}, "test")


def test_a_network_has_the_common_choices_its_own_value_first() -> None:
    space = space_of(find_method("alone"), config(train__lr=0.002, train__batch_size=64, model__dropout=0.3))
    assert space == {
        "train.lr": (0.002, 0.001, 0.004),
        "train.weight_decay": (0.0, 1e-6, 1e-5, 1e-4),
        "train.batch_size": (64, 256, 512, 1024),
        "model.dropout": (0.3, 0.1),
        "model.embedding_dropout": (0.0, 0.3, 0.5, 0.6),
    }


def test_a_method_adds_its_own_choices() -> None:
    own = find_method("fedprox").space
    assert own
    space = space_of(find_method("fedprox"), find_method("fedprox").configure(RunConfig()))
    assert space.keys() == {*COMMON, *own}
    for key, values in own.items():
        assert set(values) <= set(space[key])


def test_adagrads_rate_is_tuned_where_there_is_adagrad() -> None:
    space = space_of(find_method("alone"), config(train__embedding_optimizer="adagrad", train__embedding_lr=0.1))
    assert space.keys() == {*COMMON, *ADAGRAD}
    assert space["train.embedding_lr"] == (0.1, 0.02, 0.05)


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


def test_only_single_values_are_tuned() -> None:
    assert value_of(RunConfig(), "train.lr") == 0.001
    with pytest.raises(TypeError, match=r"model\.expert_layers is \(64, 32\), which is no single value"):
        value_of(RunConfig(), "model.expert_layers")
