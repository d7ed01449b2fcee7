"""The task towers: from what a task takes of the experts to its logit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.model.dropout import Dropout


class Tower(nn.Sequential):
    """A small perceptron ending in one logit: linear, batch normalization, ReLU, dropout, ..., linear."""

    def __init__(self, inputs: int, layers: Sequence[int], dropout: float) -> None:
        modules: list[nn.Module] = []
        width = inputs
        for after in layers:
            modules += [nn.Linear(width, after), nn.BatchNorm1d(after), nn.ReLU(), Dropout(dropout)]
            width = after
        super().__init__(*modules, nn.Linear(width, 1))


class Towers(nn.Module):
    """One tower per task, under the task's name."""

    def __init__(self, tasks: Sequence[str], inputs: int, layers: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.of_task = nn.ModuleDict({task: Tower(inputs, layers, dropout) for task in tasks})

    def forward(self, mixed: Tensor) -> Tensor:
        """Return the logits (B, T) of ``mixed`` (B, T, H)."""
        logits = [tower(mixed[:, index]) for index, tower in enumerate(self.of_task.values())]
        return torch.cat(logits, dim=1)
