"""The task towers, from a task's mixture of the experts to its logit.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.model.towers import Towers
>>> towers = Towers(["ctr", "ctcvr"], inputs=6, layers=[4], dropout=0.0)
>>> towers(torch.zeros(3, 2, 6)).shape  # (B, T, H) to (B, T)
torch.Size([3, 2])
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.model.by_task import ModulesByTask
from pfmsmtrec_flwr.model.dropout import Dropout


def hidden_layers(
    inputs: int, layers: Sequence[int], dropout: float, norm: type[nn.BatchNorm1d] = nn.BatchNorm1d
) -> list[nn.Module]:
    """Return the modules of hidden layers of the widths `layers`: linear, batch normalization, ReLU, dropout."""
    modules: list[nn.Module] = []
    for before, after in itertools.pairwise([inputs, *layers]):
        modules += [nn.Linear(before, after), norm(after), nn.ReLU(), Dropout(dropout)]
    return modules


class OutputLayer(nn.Linear):
    """Last layer of a tower, whose outputs are logits and whose bias carries the base rate."""


class Tower(nn.Sequential):
    """A small perceptron: hidden layers, then a linear layer with one logit by default."""

    def __init__(
        self,
        inputs: int,
        layers: Sequence[int],
        dropout: float,
        outputs: int = 1,
        norm: type[nn.BatchNorm1d] = nn.BatchNorm1d,
    ) -> None:
        last = [inputs, *layers][-1]
        super().__init__(*hidden_layers(inputs, layers, dropout, norm), OutputLayer(last, outputs))


class Towers(nn.Module):
    """One tower per task, under the task's name."""

    def __init__(
        self,
        tasks: Sequence[str],
        inputs: int,
        layers: Sequence[int],
        dropout: float,
        norm: type[nn.BatchNorm1d] = nn.BatchNorm1d,
    ) -> None:
        super().__init__()
        self.of_task = ModulesByTask({task: Tower(inputs, layers, dropout, norm=norm) for task in tasks})

    def forward(self, mixed: Tensor) -> Tensor:
        """Return the logits (B, T) of ``mixed`` (B, T, H)."""
        logits = [tower(mixed[:, index]) for index, tower in enumerate(self.of_task.values())]
        return torch.cat(logits, dim=1)
