"""Tiny scenarios, and a grid that keeps what travels: what the tests of the federation share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from safetensors.torch import load_file
from torch import Tensor

from pfmsmtrec_flwr.config import SECTIONS, RunConfig
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.writer import StoreWriter
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.resume.checkpoints import CheckpointFolder
from pfmsmtrec_flwr.federation.server.result import FederationResult
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.methods import federated_method, find_method
from pfmsmtrec_flwr.validation import parse

FEDAVG: dict[str, Any] = {"federation__tables": "plain", "train__reestimate_batch_norm": False}
"""Common settings that FedAvg fixes, as `Tiny.config` takes them."""


class RecordingGrid(InProcessGrid):
    """The in-process grid; keeps what is sent and what comes back, and may turn the order of replies."""

    def __init__(self, app: ClientApp, contexts: Mapping[int, Context], *, turned: bool = False) -> None:
        super().__init__(app, contexts)
        self.turned = turned
        self.sent: list[Message] = []
        self.replies: list[Message] = []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        messages = list(messages)
        self.sent += messages
        replies = super().send_and_receive(messages, timeout=timeout)
        self.replies += replies
        return replies[::-1] if self.turned else replies


@dataclass(frozen=True)
class Trained:
    """What a training over the in-process grid left."""

    result: FederationResult
    strategy: Any
    """Strategy of the method, with whatever attributes that has."""
    grid: RecordingGrid
    folder: Path
    """Of the clients' files, a folder per scenario."""
    models: dict[str, dict[str, Tensor]]
    """By scenario: its final ``model.safetensors``."""


@dataclass(frozen=True)
class Tiny:
    """Hand-written scenarios NL, ES, FR, US of a few dozen rows, and the means to train on them in a blink."""

    root: Path
    dataset: str = "tiny"
    _known: dict[str, Trained] = field(default_factory=dict)

    def config(self, method: str = "pf-msmtrec", /, **settings: Any) -> RunConfig:
        """Return a small configuration, of two scenarios by default.

        ``train__lr=0.1`` sets `train.lr`, and ``pf_msmtrec__gates="federated"`` the setting `gates` of that method.
        """
        document: dict[str, Any] = {
            "method": method,
            "data": {"name": self.dataset},
            "model": {"embedding_dim": 2, "experts": 2, "expert_layers": [6, 4], "tower_layers": [3]},
            "train": {"batch_size": 16, "lr": 0.01, "device": "cpu"},
            "federation": {"rounds": 2, "patience": 0, "node_timeout": 0.3, "scenarios": ["FR", "US"]},
        }
        for key, value in settings.items():
            section, _, name = key.rpartition("__")
            if section and section not in SECTIONS:
                document.setdefault("methods", {}).setdefault(section.replace("_", "-"), {})[name] = value
            else:
                (document.setdefault(section, {}) if section else document)[name] = value
        return find_method(method).configure(parse(RunConfig, document, "test"))

    def write(
        self,
        dataset: str,
        scenario: str,
        *,
        rows: int,
        seed: int,
        tasks: Sequence[str] = ("click", "like"),
        **more: Any,
    ) -> ScenarioStore:
        """Write a store; its third field is local, with a table of the scenario's own size."""
        generator = np.random.default_rng(seed)
        fields = (Field("item", 12, True), Field("tab", 4, True), Field("person", 5 + rows // 10, False))
        settings: dict[str, Any] = {
            "fields": fields,
            "numeric": ("age", "hour"),
            "schema_hash": "5" * 32,
            "users": True,
        } | more
        with StoreWriter(
            self.root / dataset / scenario, dataset=dataset, scenario=scenario, tasks=tasks, **settings
        ) as writer:
            for split, count in (("train", rows), ("validation", 40), ("test", 30)):
                categorical = np.stack([generator.integers(0, field.size - 3, count) for field in fields], axis=1)
                numeric = generator.standard_normal((count, 2)).astype(np.float32)
                noise = generator.standard_normal((count, len(tasks)))
                labels = (numeric[:, :1] + 0.2 * categorical[:, :1] + noise > 0.8).astype(np.uint8)
                users = generator.integers(0, 9, count)
                writer.append(split, categorical=categorical, numeric=numeric, labels=labels, users=users)
            return writer.commit()

    def trained(self, config: RunConfig) -> Trained:
        """Train over two nodes, once for all tests of a session; settings of other methods make no other run."""
        own = {name: value for name, value in config.methods.items() if name == config.method}
        key = config.model_copy(update={"methods": own}).model_dump_json()
        if key not in self._known:
            self._known[key] = self.train(config, self.root / "runs" / str(len(self._known)))
        return self._known[key]

    def train(
        self,
        config: RunConfig,
        output: Path,
        *,
        nodes: int = 2,
        turned: bool = False,
        strategy: type[ScenarioStrategy] | None = None,
        checkpoints: CheckpointFolder | None = None,
    ) -> Trained:
        """Train one method over the in-process grid."""
        from client_app import app

        run_config = {"output": str(output), "data": str(self.root)}
        grid = RecordingGrid(app, simulated_contexts(7, nodes, run_config), turned=turned)
        made = (strategy or federated_method(config.method).strategy)(config)
        made.checkpoints = checkpoints
        with run_identity(7):
            result = made.start(grid)
        folder = output / "clients" / config.method
        models = {child.name: load_file(child / "model.safetensors") for child in sorted(folder.iterdir())}
        return Trained(result, made, grid, folder, models)


def same(one: Mapping[str, Mapping[str, Tensor]], other: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether two sets of models are the same to the last bit."""
    return one.keys() == other.keys() and all(
        one[name].keys() == other[name].keys()
        and all(torch.equal(value, other[name][key]) for key, value in one[name].items())
        for name in one
    )
