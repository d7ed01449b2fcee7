"""Normalization statistics after the parameters below them changed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pfmsmtrec_flwr.config import TrainSettings
from pfmsmtrec_flwr.data.batches import Batch, batches
from pfmsmtrec_flwr.data.store.reader import Split


@torch.no_grad()
def reestimate_statistics(model: nn.Module, batches: Iterable[Batch]) -> None:
    """Replace running means and variances by those of the given rows under the model's present parameters.

    After an aggregation the statistics that a scenario gathered belong to parameters that are no more. Dropout is off
    meanwhile, as it is when the statistics are used.

    Parameters
    ----------
    model
        Taking a batch's ``categorical`` and ``numeric``; left in evaluation mode.
    batches
        Training rows of the scenario. Statistics that none of them reaches stay as they are: with no rows at all, or
        those of a scenario without rows where a model keeps statistics per scenario.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    model.eval()
    momenta = [norm.momentum for norm in norms]
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    for position, batch in enumerate(batches):
        if position == 0:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the plain mean over the batches
                norm.train()
        model(batch.categorical, batch.numeric)
    for norm, momentum, statistics in zip(norms, momenta, before, strict=True):
        if not norm.num_batches_tracked:
            norm.load_state_dict(statistics, strict=False)
        norm.momentum = momentum
        norm.eval()


def refresh_statistics(
    model: nn.Module, rows: Split, settings: TrainSettings, *, seed: int, device: torch.device
) -> None:
    """Re-estimate the statistics on some of the training rows, drawn at random; nothing where the settings say so.

    Parameters
    ----------
    model
        As in `reestimate_statistics`.
    rows
        Training rows.
    settings
        Whether to do it, on how many rows, in batches of which size.
    seed
        Of the draw.
    device
        Of the model.
    """
    if not settings.reestimate_batch_norm:
        return
    count = max(1, min(len(rows), settings.reestimate_rows) // settings.batch_size)
    drawn = batches(rows, settings.batch_size, generator=np.random.default_rng(seed), device=device)
    reestimate_statistics(model, islice(drawn, count))
