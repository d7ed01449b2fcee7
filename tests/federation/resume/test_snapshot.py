"""A training that was broken off goes on as if it had not been, whatever its method remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from federated import same

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume.checkpoints import Checkpoint, CheckpointFolder
from pfmsmtrec_flwr.methods import METHODS, FederatedMethod

if TYPE_CHECKING:
    from federated import Tiny, Trained

    from pfmsmtrec_flwr.config import RunConfig

FEDERATED = {
    (method.strategy, method.client): name
    for name, method in list(METHODS.items())[::-1]
    if isinstance(method, FederatedMethod)
}
"""A registered method for each pair of classes; others have the same ones under other settings."""
TIMES = ("train_seconds", "aggregate_seconds", "elapsed")


class StoppedError(Exception):
    pass


class StoppingFolder(CheckpointFolder):
    """Checkpoints of a process that ends before it writes its last one; the clients are one exchange ahead then."""

    def __init__(self, folder: Path, writes: int) -> None:
        super().__init__(folder)
        self.writes = writes

    def write(self, checkpoint: Checkpoint, about: Mapping[str, Any]) -> None:
        if not self.writes:
            raise StoppedError
        self.writes -= 1
        super().write(checkpoint, about)


def rounds(trained: Trained) -> list[dict[str, Any]]:
    records = [asdict(record) for record in trained.result.rounds]
    return [{key: value for key, value in record.items() if key not in TIMES} for record in records]


def assert_goes_on(tiny: Tiny, config: RunConfig, folder: Path, writes: int) -> None:
    whole = tiny.trained(config)
    kept = CheckpointFolder(folder / "checkpoints")
    with pytest.raises(StoppedError):
        tiny.train(config, folder, checkpoints=StoppingFolder(kept.folder, writes))
    resumed = tiny.train(config, folder, checkpoints=kept)
    assert same(resumed.models, whole.models)
    assert rounds(resumed) == rounds(whole)
    for name in ("selected", "test", "consensus", "train_metrics_clientapp", "evaluate_metrics_clientapp"):
        assert getattr(resumed.result, name) == getattr(whole.result, name), name
    for name, draws in whole.result.draws.items():
        np.testing.assert_equal(resumed.result.draws[name], draws)


@pytest.mark.parametrize("name", FEDERATED.values())
def test_every_method_goes_on_where_it_was(tiny: Tiny, tmp_path: Path, name: str) -> None:
    assert_goes_on(tiny, tiny.config(name), tmp_path, writes=2)


SETTINGS: dict[str, dict[str, Any]] = {
    "bottom-up": {"pf_msmtrec__schedule": "bottom-up", "pf_msmtrec__gates": "federated"},
    "memory": {
        "federation__evaluate_consensus": True,
        "federation__rounds": 3,
        "federation__selection": "macro",
        "train__ema_decay": 0.5,
        "train__optimizer_state": "keep",
    },
    "half": {"federation__precision": "half", "federation__rounds": 4, "model__embedding_dim": 8},
    "int8": {"federation__precision": "int8", "pf_msmtrec__schedule": "bottom-up"},
    "patience": {"federation__rounds": 6, "federation__patience": 1, "train__lr": 0.5},
}


@pytest.mark.parametrize(
    ("name", "writes"), [("bottom-up", 2), ("memory", 3), ("half", 3), ("int8", 3), ("patience", 2)]
)
def test_settings_that_remember_more(tiny: Tiny, tmp_path: Path, name: str, writes: int) -> None:
    assert_goes_on(tiny, tiny.config("pf-msmtrec", **SETTINGS[name]), tmp_path, writes)


def test_other_scenarios_are_refused_by_name(tiny: Tiny, tmp_path: Path) -> None:
    kept = CheckpointFolder(tmp_path / "checkpoints")
    with pytest.raises(StoppedError):
        tiny.train(tiny.config("fedavg"), tmp_path, checkpoints=StoppingFolder(kept.folder, 1))
    alone = tiny.config("fedavg", federation__scenarios=["FR"], federation__min_scenarios=1)
    with pytest.raises(UserError, match=r"^cannot resume: scenario US is missing, the run began with FR, US$"):
        tiny.train(alone, tmp_path, checkpoints=kept)
    fewer = tiny.config("fedavg", data__train_fraction=0.5)
    with pytest.raises(UserError, match=r"^cannot resume: used_rows of scenario FR is 32 now and was 64 when the run"):
        tiny.train(fewer, tmp_path, checkpoints=kept)


def test_memory_that_the_server_counts_on_is_not_replaced_by_a_silent_start(tiny: Tiny, tmp_path: Path) -> None:
    kept = CheckpointFolder(tmp_path / "checkpoints")
    config = tiny.config("fedper", federation__rounds=4)
    with pytest.raises(StoppedError):
        tiny.train(config, tmp_path, checkpoints=StoppingFolder(kept.folder, 3))
    states = sorted((tmp_path / "clients" / "fedper" / "US").glob("state-*"))
    assert [path.name for path in states] == ["state-2.safetensors", "state-3.safetensors"]
    (kept.folder / "checkpoint-000002" / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"cannot go back to exchange 1, which the server goes on from"):
        tiny.train(config, tmp_path, checkpoints=kept)
    assert sorted((tmp_path / "clients" / "fedper" / "US").glob("state-*")) == states
    for path in (tmp_path / "clients" / "fedper").glob("*/state-*"):
        path.unlink()
    with pytest.raises(UserError, match=r"the memory of scenario FR after exchange 1 is gone"):
        tiny.train(config, tmp_path, checkpoints=kept)
