"""Local training of one scenario in one round.

Examples
--------
>>> import numpy as np
>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
>>> from pfmsmtrec_flwr.data.store.reader import Split
>>> from pfmsmtrec_flwr.model import ModelSpec, build_model
>>> from pfmsmtrec_flwr.training.local import GradientStep, train_locally
>>> from pfmsmtrec_flwr.training.optimizers import make_optimizer
>>> numeric = np.linspace(-1, 1, 64, dtype=np.float32).reshape(64, 1)
>>> split = Split(np.zeros((64, 0), np.int32), numeric, (numeric > 0).astype(np.uint8), users=None, probabilities=None)
>>> model = build_model(ModelSpec((), numeric=1, tasks=("ctr",)), ModelSettings(), seed=0)
>>> settings = TrainSettings(batch_size=16, local_epochs=5, lr=0.01)
>>> step = GradientStep(model, make_optimizer(model, settings), settings)
>>> first, second = (train_locally(step, split, settings, seed=seed, device=torch.device("cpu")) for seed in (1, 2))
>>> first.steps, first.examples
(20, 320)
>>> bool(second.losses.mean() < first.losses.mean())
True
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pfmsmtrec_flwr.config import TrainSettings
from pfmsmtrec_flwr.data.batches import Batch, batches, split_bytes
from pfmsmtrec_flwr.data.device_rows import DeviceRows
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.devices import rows_fit
from pfmsmtrec_flwr.training.objective import pull_to_anchors, task_losses
from pfmsmtrec_flwr.training.optimizers import LocalOptimizer
from pfmsmtrec_flwr.training.row_pull import RowPull

SMALLEST_BATCH = 32
"""Fewest impressions of a batch that `TrainSettings.min_steps` makes smaller; normalization needs this many."""


@dataclass(frozen=True, slots=True)
class TrainReport:
    """Outcome of a local training.

    Attributes
    ----------
    losses
        Mean cross-entropy of each task over the batches that have labels of it, (T,) on the CPU; 0 if none has.
    examples
        Number of training rows seen.
    steps
        Number of batches.
    seconds
        Wall-clock time in seconds.
    row_counts
        Number of uses of each row of the federated embedding table, (rows,) int64 on the CPU; None without a table.
    """

    losses: Tensor
    examples: int
    steps: int
    seconds: float
    row_counts: Tensor | None


@contextmanager
def trained_only(model: ScenarioModel, names: Iterable[str]) -> Iterator[None]:
    """Exclude all but the named parameters of the model from training; afterwards all take part again."""
    wanted = set(names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in wanted)
    try:
        yield
    finally:
        model.requires_grad_(True)


class LocalStep(Protocol):
    """Step that a local training takes for each batch."""

    model: ScenarioModel
    """Model that is trained in place."""

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step; return the loss of each task before it, (T,), detached."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Values that a local training is pulled to: ``weight / 2 * ||theta - value||^2`` is part of the objective.

    The pull is a proximal step of its own after each step of the optimiser, see `objective.pull_to_anchors`.

    Attributes
    ----------
    values
        Values by parameter name; parameters without a value are free.
    weight
        Weight of the pull.
    """

    values: Mapping[str, Tensor]
    weight: float


class GradientStep:
    """One step of the optimiser down the gradient of the losses, then one of the pulls.

    The pulls' learning rate is ``train.lr`` for all parameters. Adagrad's rate for the tables is no step length before
    it is divided by the size of the gradients.

    Parameters
    ----------
    model
        Model that is trained in place.
    optimizer
        Optimiser of the model's parameters.
    settings
        Settings of the training.
    anchors
        Pulls that are part of the objective, such as FedProx's proximal term.
    """

    def __init__(
        self,
        model: ScenarioModel,
        optimizer: LocalOptimizer,
        settings: TrainSettings,
        anchors: Iterable[Anchor] = (),
    ) -> None:
        self.model = model
        self._optimizer = optimizer
        self._mixed_precision = settings.mixed_precision
        by_row = {id(table.weight): table for table in model.tables if table.sparse}
        parameters = dict(model.named_parameters())
        self._pulls: list[tuple[list[tuple[Tensor, Tensor]], float]] = []
        of_table: dict[int, list[tuple[Tensor, float]]] = {key: [] for key in by_row}
        for anchor in anchors:
            if not (step := settings.lr * anchor.weight):
                continue
            pairs = [(parameters[name], value.to(parameters[name].device)) for name, value in anchor.values.items()]
            self._pulls.append(([(own, value) for own, value in pairs if id(own) not in by_row], step))
            for own, value in pairs:
                if id(own) in by_row:
                    of_table[id(own)].append((value, step))
        self._row_pulls = [RowPull(by_row[key], targets) for key, targets in of_table.items() if targets]

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step; return the loss of each task before it, (T,)."""
        self._optimizer.zero_grad()
        losses = backward(self.model, batch, mixed_precision=self._mixed_precision)
        self._optimizer.step()
        for pairs, step in self._pulls:
            pull_to_anchors(pairs, step)
        for pull in self._row_pulls:
            pull(batch.categorical)
        return losses


def backward(model: ScenarioModel, batch: Batch, *, mixed_precision: bool) -> Tensor:
    """Add the gradient of the tasks' losses on a batch to the model's parameters; return the losses (T,), detached."""
    with torch.autocast(batch.labels.device.type, dtype=torch.bfloat16, enabled=mixed_precision):
        logits = model(batch.categorical, batch.numeric)
    logits = logits.float()
    losses = task_losses(logits, batch.labels, batch.labelled)
    objective = losses.sum()
    auxiliary = model.auxiliary_loss(logits, batch.labelled)
    if auxiliary is not None:
        objective = objective + auxiliary
    objective.backward()  # type: ignore[no-untyped-call]
    return losses.detach()


def train_locally(
    step: LocalStep,
    split: Split,
    settings: TrainSettings,
    *,
    seed: int,
    device: torch.device,
    steps: int | None = None,
) -> TrainReport:
    """Train a scenario's model for one round.

    Parameters
    ----------
    step
        Step that is taken for each batch; its model is left in training mode.
    split
        Training rows of the scenario.
    settings
        Settings of the training.
    seed
        Seed of dropout and of the order of the rows, unique to the run, the round and the scenario.
    device
        Device of the model.
    steps
        Number of batches; None: as many as the settings' epochs need.

    Raises
    ------
    FloatingPointError
        The loss is not finite.
    ValueError
        The split has fewer than two rows.
    """
    if len(split) < 2:
        raise ValueError(f"got {len(split)} training rows, expected two or more: batch normalization needs them")
    started = time.perf_counter()
    wanted = steps or local_steps(len(split), settings)
    model = step.model
    table = model.federated_embeddings
    counts = torch.zeros(len(table.weight), dtype=torch.int64, device=device) if table is not None else None
    losses = torch.zeros(len(model.spec.tasks), device=device)
    without = torch.zeros(len(model.spec.tasks), dtype=torch.int64, device=device)
    examples = 0
    model.train()
    with _seeded(seed, device):
        for batch in islice(_passes(split, settings, seed, device, wanted), wanted):
            losses += step(batch)
            if batch.labelled is not None:
                without += ~batch.labelled.any(dim=0)
            examples += len(batch.labels)
            if table is not None and counts is not None:
                rows = table.used_rows(batch.categorical)
                counts.index_add_(0, rows, torch.ones_like(rows))
    mean = (losses / ((wanted - without).clamp(min=1) if split.unlabelled else wanted)).cpu()
    _require_finite(mean, settings)
    return TrainReport(
        losses=mean,
        examples=examples,
        steps=wanted,
        seconds=time.perf_counter() - started,
        row_counts=None if counts is None else counts.cpu(),
    )


def local_steps(rows: int, settings: TrainSettings) -> int:
    """Return the number of batches in one round of a scenario with this number of training rows."""
    per_epoch = steps_per_epoch(rows, local_batch_size(rows, settings))
    steps = max(1, round(settings.local_epochs * per_epoch))
    return min(steps, settings.max_local_steps) if settings.max_local_steps else steps


def rows_seen(rows: int, settings: TrainSettings, steps: int | None = None) -> int:
    """Return the number of training rows that a local training sees, repetitions counted.

    Parameters
    ----------
    rows
        Training rows of the scenario.
    settings
        Settings of the training.
    steps
        Number of batches; None: as many as the settings' epochs need.

    Examples
    --------
    >>> rows_seen(100, TrainSettings(batch_size=32, local_epochs=1.5))  # 4 batches, then 2
    164
    """
    size = local_batch_size(rows, settings)
    passes, rest = divmod(steps or local_steps(rows, settings), steps_per_epoch(rows, size))
    return passes * rows + rest * size


def local_batch_size(rows: int, settings: TrainSettings) -> int:
    """Return the number of impressions in a batch of a scenario with this number of training rows."""
    if not settings.min_steps:
        return settings.batch_size
    return min(settings.batch_size, max(SMALLEST_BATCH, rows // settings.min_steps))


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the number of batches that `batches` makes of `rows`; a single row left over joins the last batch."""
    return math.ceil(rows / batch_size) - (1 if rows % batch_size == 1 and rows > 1 else 0)


def _require_finite(losses: Tensor, settings: TrainSettings) -> None:
    if torch.isfinite(losses).all():
        return
    rates = f"train.lr (now {settings.lr})"
    if settings.embedding_optimizer == "adagrad":
        rates += f" or train.embedding_lr (now {settings.embedding_lr})"
    raise FloatingPointError(f"the training loss became {losses.tolist()}: lower {rates}")


def _passes(split: Split, settings: TrainSettings, seed: int, device: torch.device, wanted: int) -> Iterator[Batch]:
    """Yield shuffled batches, pass after pass, without end.

    On a GPU the rows are copied once where they fit and `wanted` batches are a pass or more, and batch by batch else.
    """
    generator = np.random.default_rng(derive_seed(seed, "shuffle"))
    size = local_batch_size(len(split), settings)
    if wanted >= steps_per_epoch(len(split), size) and rows_fit(split_bytes(split), device):
        rows = DeviceRows.of(split, device)
        while True:
            yield from rows.batches(size, generator)
    while True:
        yield from batches(split, size, generator=generator, device=device)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed dropout; the process's own random generators are restored afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "dropout"))
        yield
