"""Local training of one scenario in one round."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from pfmsmtrec_flwr.config import TrainSettings
from pfmsmtrec_flwr.data.batches import Batch, batches
from pfmsmtrec_flwr.data.store import Split
from pfmsmtrec_flwr.model import MMoE
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.objective import add_consensus_gradient, task_losses


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a local training did.

    Attributes
    ----------
    losses
        Mean cross-entropy of each task over the batches, (T,) on the CPU.
    examples
        Training rows seen.
    steps
        Batches.
    seconds
        Wall-clock time.
    row_counts
        How often each row of the federated embedding table was used, (rows,) int64 on the CPU; None without a table.
    """

    losses: Tensor
    examples: int
    steps: int
    seconds: float
    row_counts: Tensor | None


def make_optimizer(model: MMoE, settings: TrainSettings) -> torch.optim.Adam:
    """Return Adam over all parameters that take part in training, in one fused step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.Adam(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)


def train_locally(
    model: MMoE,
    optimizer: torch.optim.Optimizer,
    split: Split,
    settings: TrainSettings,
    *,
    seed: int,
    device: torch.device,
    consensus: Mapping[str, Tensor] | None = None,
    steps: int | None = None,
) -> TrainReport:
    """Train a scenario's model for one round.

    Parameters
    ----------
    model
        Trained in place; left in training mode.
    optimizer
        Over the model's parameters.
    split
        The scenario's training rows.
    seed
        Of the order of the rows and of dropout: one per (run, round, scenario).
    consensus
        Consensus of the federated parameters by name, for the regularizer; None or empty: no regularizer.
    steps
        Batches to train on; None: what the settings' epochs give.

    Raises
    ------
    FloatingPointError
        The loss is no longer a number.
    ValueError
        The split has fewer than two rows.
    """
    if len(split) < 2:
        raise ValueError(f"got {len(split)} training rows, expected two or more: batch normalization needs them")
    started = time.perf_counter()
    wanted = steps or local_steps(len(split), settings)
    parameters = dict(model.named_parameters())
    pairs = [(parameters[name], value.to(device)) for name, value in (consensus or {}).items()]
    table = model.federated_embeddings
    counts = torch.zeros(len(table.weight), dtype=torch.int64, device=device) if table is not None else None
    losses = torch.zeros(len(model.spec.tasks), device=device)
    examples = 0
    model.train()
    with _seeded(seed, device):
        for batch in islice(_passes(split, settings, seed, device), wanted):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.mixed_precision):
                logits = model(batch.categorical, batch.numeric)
            batch_losses = task_losses(logits.float(), batch.labels)
            batch_losses.sum().backward()  # type: ignore[no-untyped-call]
            add_consensus_gradient(pairs, settings.consensus_weight)
            optimizer.step()
            losses += batch_losses.detach()
            examples += len(batch.labels)
            if table is not None and counts is not None:
                rows = table.rows_of(batch.categorical).flatten().long()
                counts.index_add_(0, rows, torch.ones_like(rows))
    mean = (losses / wanted).cpu()
    if not torch.isfinite(mean).all():
        raise FloatingPointError(f"the training loss became {mean.tolist()}: lower train.lr (now {settings.lr})")
    return TrainReport(
        losses=mean,
        examples=examples,
        steps=wanted,
        seconds=time.perf_counter() - started,
        row_counts=None if counts is None else counts.cpu(),
    )


def local_steps(rows: int, settings: TrainSettings) -> int:
    """Return the number of batches of one round for a scenario of so many rows."""
    per_epoch = steps_per_epoch(rows, settings.batch_size)
    steps = max(1, round(settings.local_epochs * per_epoch))
    return min(steps, settings.max_local_steps) if settings.max_local_steps else steps


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return how many batches `batches` makes of so many rows; a single row left over joins the batch before."""
    return math.ceil(rows / batch_size) - (1 if rows % batch_size == 1 and rows > 1 else 0)


def _passes(split: Split, settings: TrainSettings, seed: int, device: torch.device) -> Iterator[Batch]:
    """Shuffled batches, pass after pass, without end."""
    generator = np.random.default_rng(derive_seed(seed, "shuffle"))
    while True:
        yield from batches(split, settings.batch_size, generator=generator, device=device)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw dropout from a seed; the process's own generators are put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "dropout"))
        yield
