"""The MMoE of other libraries (`make peers`), at the same sizes as ours, with their own loops and loaders.

Each has the same tables, experts, towers, normalization and dropout, no penalty, and the optimiser that its library
takes by default: Adam.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.data.store.reader import Split


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an MMoE and of its input."""

    name: str
    batch: int
    fields: int
    rows: int
    """Rows of the table of each field."""
    numeric: int
    embedding: int
    experts: int
    expert_layers: tuple[int, ...]
    tower_layers: tuple[int, ...]
    tasks: tuple[str, ...]
    dropout: float

    @property
    def inputs(self) -> int:
        """Width of the embedded input."""
        return self.fields * self.embedding + self.numeric


class Peer(ABC):
    """Model of another library in training."""

    library: str

    @abstractmethod
    def ready(self, batch: Batch) -> Any:
        """Return a batch in the form of the library."""

    @abstractmethod
    def step(self, ready: Any) -> None:
        """Take one step on a batch, as the library's own loop does, without its progress bar."""

    @abstractmethod
    def epoch(self, split: Split) -> Callable[[], object]:
        """Return the library's own pass over all rows, in batches that its loader makes."""


class TorchRechub(Peer):
    """MMOE and MTLTrainer of torch-rechub."""

    library = "torch-rechub"

    def __init__(self, shape: Shape) -> None:
        features = importlib.import_module("torch_rechub.basic.features")
        models = importlib.import_module("torch_rechub.models.multi_task")
        self._shape = shape
        columns = [features.SparseFeature(f"c{i}", shape.rows, shape.embedding) for i in range(shape.fields)]
        columns += [features.DenseFeature(f"n{i}") for i in range(shape.numeric)]
        common = {"dropout": shape.dropout, "activation": "relu"}
        types = ["classification"] * len(shape.tasks)
        experts = {"dims": list(shape.expert_layers), **common}
        towers = [{"dims": list(shape.tower_layers), **common} for _ in shape.tasks]
        self._model = models.MMOE(columns, types, shape.experts, experts, towers).train()
        trainers = importlib.import_module("torch_rechub.trainers")
        self._trainer = trainers.MTLTrainer(self._model, types, optimizer_params={"lr": 1e-3}, n_epoch=1)

    def ready(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Return the columns by name, and the labels."""
        return self._columns(batch.categorical, batch.numeric), batch.labels

    def step(self, ready: tuple[dict[str, Tensor], Tensor]) -> None:
        """Take one step of the trainer."""
        columns, labels = ready
        predicted = self._model(columns)
        losses = [functional.binary_cross_entropy(predicted[:, i], labels[:, i]) for i in range(labels.shape[1])]
        self._model.zero_grad()
        (sum(losses, torch.zeros(())) / len(losses)).backward()  # type: ignore[no-untyped-call]
        self._trainer.optimizer.step()

    def epoch(self, split: Split) -> Callable[[], object]:
        """Return the trainer's epoch over the library's loader."""
        data = importlib.import_module("torch_rechub.utils.data")
        columns = {name: np.ascontiguousarray(column) for name, column in _by_name(split).items()}
        labels = split.labels.astype(np.float32)
        few = {name: column[:2] for name, column in columns.items()}, labels[:2]
        loader, *_ = data.DataGenerator(columns, labels).generate_dataloader(*few, *few, batch_size=self._shape.batch)
        return lambda: self._trainer.train_one_epoch(loader)

    @staticmethod
    def _columns(categorical: Tensor, numeric: Tensor) -> dict[str, Tensor]:
        columns = {f"c{i}": column.contiguous() for i, column in enumerate(categorical.unbind(1))}
        return columns | {f"n{i}": column.contiguous() for i, column in enumerate(numeric.unbind(1))}


class DeepctrTorch(Peer):
    """MMOE of deepctr-torch."""

    library = "deepctr-torch"

    def __init__(self, shape: Shape) -> None:
        inputs = importlib.import_module("deepctr_torch.inputs")
        models = importlib.import_module("deepctr_torch.models.multitask")
        self._shape = shape
        columns = [inputs.SparseFeat(f"c{i}", shape.rows, shape.embedding) for i in range(shape.fields)]
        columns += [inputs.DenseFeat(f"n{i}", 1) for i in range(shape.numeric)]
        self._model = models.MMOE(
            columns,
            num_experts=shape.experts,
            expert_dnn_hidden_units=shape.expert_layers,
            gate_dnn_hidden_units=(),
            tower_dnn_hidden_units=shape.tower_layers,
            l2_reg_embedding=0,
            l2_reg_linear=0,
            dnn_dropout=shape.dropout,
            dnn_use_bn=True,
            task_types=["binary"] * len(shape.tasks),
            task_names=shape.tasks,
        ).train()
        self._model.compile("adam", loss=["binary_crossentropy"] * len(shape.tasks))

    def ready(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return all columns as one tensor, and the labels."""
        return torch.cat([batch.categorical.float(), batch.numeric], dim=1), batch.labels

    def step(self, ready: tuple[Tensor, Tensor]) -> None:
        """Take one step of `fit`."""
        columns, labels = ready
        predicted = self._model(columns)
        self._model.optim.zero_grad()
        losses = [
            functional.binary_cross_entropy(predicted[:, i], labels[:, i], reduction="sum")
            for i in range(labels.shape[1])
        ]
        sum(losses, torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        self._model.optim.step()

    def epoch(self, split: Split) -> Callable[[], object]:
        """Return `fit` for one epoch."""
        labels = split.labels.astype(np.float32)
        return lambda: self._model.fit(_by_name(split), labels, batch_size=self._shape.batch, epochs=1, verbose=0)


def _by_name(split: Split) -> dict[str, Any]:
    columns = {f"c{i}": split.categorical[:, i] for i in range(split.categorical.shape[1])}
    return columns | {f"n{i}": split.numeric[:, i] for i in range(split.numeric.shape[1])}


def peers_of(shape: Shape) -> tuple[list[Peer], list[str]]:
    """Return the models of the libraries that are installed, and the names of the others."""
    kinds: Sequence[type[TorchRechub | DeepctrTorch]] = (TorchRechub, DeepctrTorch)
    found: list[Peer] = []
    absent: list[str] = []
    for kind in kinds:
        with silence():
            try:
                found.append(kind(shape))
            except ImportError:
                absent.append(kind.library)
            _join_threads()
    return found, absent


@contextmanager
def silence() -> Iterator[None]:
    """Swallow what libraries print."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _join_threads() -> None:
    """Wait for what an import has started: deepctr-torch asks a server for a newer version."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(timeout=10)
