"""Re-estimated normalization statistics, for use after the parameters below them have changed.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.data.batches import Batch
>>> from pfmsmtrec_flwr.model import ModelSpec, build_model
>>> from pfmsmtrec_flwr.training.batchnorm import reestimate_statistics
>>> model = build_model(ModelSpec((), numeric=2, tasks=("ctr",)), ModelSettings(expert_layers=(4,)), seed=0)
>>> rows = torch.tensor([[1.0, -1.0], [3.0, 1.0]])  # (B, N)
>>> reestimate_statistics(model, [Batch(torch.zeros(2, 0, dtype=torch.int32), rows, torch.zeros(2, 1))])
>>> norm, outputs = model.experts.norms[0], model.experts.layers[0](rows).flatten(1)
>>> bool(torch.allclose(norm.running_mean, outputs.mean(dim=0)))
True
"""

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
    """Replace running means and variances by those of the rows under the model's present parameters.

    After an aggregation, the statistics that a scenario gathered belong to parameters that no longer exist. Dropout is
    off during the estimate, as it is when the statistics are used.

    Parameters
    ----------
    model
        Model that takes a batch's ``categorical`` and ``numeric``; it is left in evaluation mode.
    batches
        Training rows of the scenario. Statistics that no row reaches stay as they are, such as those of a scenario
        without rows in a model that keeps statistics per scenario.
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
    """Re-estimate the statistics on training rows drawn at random, unless the settings switch this off.

    Parameters
    ----------
    model
        Model, as in `reestimate_statistics`.
    rows
        Training rows of the scenario.
    settings
        Training settings; they hold the switch, the number of rows and the batch size.
    seed
        Seed of the draw.
    device
        Device of the model.
    """
    if not settings.reestimate_batch_norm:
        return
    count = max(1, min(len(rows), settings.reestimate_rows) // settings.batch_size)
    drawn = batches(rows, settings.batch_size, generator=np.random.default_rng(seed), device=device)
    reestimate_statistics(model, islice(drawn, count))
