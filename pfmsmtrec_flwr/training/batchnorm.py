"""Normalization statistics after the parameters below them changed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pfmsmtrec_flwr.data.batches import Batch


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
        Training rows of the scenario. With none at all the statistics stay as they are.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for position, batch in enumerate(batches):
        if position == 0:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the plain mean over the batches
                norm.train()
        model(batch.categorical, batch.numeric)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
