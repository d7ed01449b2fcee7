"""Runs in low precision: what travels, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from federated import same
from flwr.app import Message

from pfmsmtrec_flwr.federation.protocol import TRAIN, payload_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from federated import Tiny, Trained

    from pfmsmtrec_flwr.config import RunConfig

LOW = ["half", "int8"]
FOUR: dict[str, Any] = {"federation__scenarios": ["ES", "FR", "NL", "US"], "model__embedding_dim": 8}


def in_precision(tiny: Tiny, precision: str, method: str = "pf-msmtrec", **settings: Any) -> RunConfig:
    return tiny.config(method, federation__precision=precision, federation__rounds=3, **settings)


def distance(one: Trained, other: Trained) -> float:
    """Return the mean difference between what the servers of two runs hold in the end."""
    first, second = one.strategy.consensus(), other.strategy.consensus()
    learned = [name for name in first if "running" not in name and "num_batches" not in name]
    return float(torch.cat([(first[name] - second[name]).abs().flatten() for name in learned]).mean())


def types(messages: list[Message]) -> set[str]:
    arrays = [
        array
        for message in messages
        if message.metadata.message_type == TRAIN
        for record in message.content.array_records.values()
        for array in record.values()
    ]
    return {array.dtype for array in arrays}


@pytest.mark.parametrize("precision", LOW)
def test_low_precision_sends_less_and_stays_near(tiny: Tiny, precision: str, logged: list[str]) -> None:
    full, low = (tiny.trained(in_precision(tiny, each, **FOUR)) for each in ("full", precision))
    for messages in ("sent", "replies"):
        before, now = (
            sum(payload_bytes(message.content) for message in getattr(run.grid, messages)) for run in (full, low)
        )
        assert now < before
    assert types(full.grid.sent) | types(full.grid.replies) == {"float32", "int32", "int64"}
    assert types(low.grid.sent) == {"float16", "uint8"}
    assert types(low.grid.replies) == {"float16", "uint8"} | ({"int8"} if precision == "int8" else set())
    assert any("/rows/" in key for message in low.grid.sent for key in message.content.array_records)
    assert 0 < distance(full, low) < 0.01
    assert not [line for line in logged if "no copy of the tables" in line]


@pytest.mark.parametrize("method", ["fedavg", "fedprox", "ditto", "fedala", "apfl", "fedamp", "fedhca2", "mr-mtl"])
def test_methods_take_low_precision(tiny: Tiny, method: str) -> None:
    full, low = (tiny.trained(in_precision(tiny, each, method)) for each in ("full", "int8"))
    assert len(low.result.rounds) == len(full.result.rounds) == 3
    assert distance(full, low) < 0.01
    for tensors in low.models.values():
        assert all(value.isfinite().all() for value in tensors.values())


@pytest.mark.parametrize("method", ["pf-msmtrec", "fedavg-rows"])
def test_parameters_do_not_depend_on_the_nodes(tiny: Tiny, tmp_path: Path, method: str) -> None:
    config = in_precision(tiny, "half", method, **FOUR)
    runs = [tiny.train(config, tmp_path / str(nodes), nodes=nodes) for nodes in (1, 3, 4)]
    assert same(runs[0].models, runs[1].models)
    assert same(runs[0].models, runs[2].models)


def test_two_exchanges_a_round_remember_what_each_lost(tiny: Tiny) -> None:
    settings = {"pf_msmtrec__schedule": "bottom-up", "pf_msmtrec__gates": "federated"}
    full, low = (tiny.trained(in_precision(tiny, each, **settings)) for each in ("full", "int8"))
    assert 0 < distance(full, low) < 0.01


def test_normalization_statistics_travel_as_values(tiny: Tiny) -> None:
    low = tiny.trained(in_precision(tiny, "int8", "fedavg"))
    found = 0
    for reply in low.grid.replies:
        for key, record in reply.content.array_records.items():
            statistics = [array for name, array in record.items() if name.endswith(("running_mean", "running_var"))]
            found += len(statistics)
            assert not statistics or key.endswith("/parameters")
            assert {array.dtype for array in statistics} <= {"float32"}
    assert found


def test_noise_is_added_before_rounding(tiny: Tiny) -> None:
    config = in_precision(tiny, "half", privacy__noise=1e-3, privacy__clip_norm=10.0, federation__draws=0)
    noisy = tiny.trained(config)
    for reply in noisy.grid.replies:
        if reply.metadata.message_type == TRAIN:
            tables = [record for key, record in reply.content.array_records.items() if "/rows/" in key]
            assert {len(record["counts"].numpy()) for record in tables} == {16}  # all rows, each once
            assert all((record["counts"].numpy() == 1).all() for record in tables)
            assert all(np.isfinite(record["values"].numpy()).all() for record in tables)
    for tensors in noisy.models.values():
        assert all(torch.isfinite(value).all() for value in tensors.values())
