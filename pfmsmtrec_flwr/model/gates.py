"""The gates of an MMoE: how much each task takes of each expert."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Gates(nn.Module):
    """One softmax gate per task.

    References
    ----------
    Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018,
    section 4.2.
    """

    def __init__(self, tasks: Sequence[str], experts: int, inputs: int) -> None:
        super().__init__()
        self.of_task = nn.ModuleDict({task: nn.Linear(inputs, experts, bias=False) for task in tasks})

    def forward(self, x: Tensor) -> Tensor:
        """Return the shares of the experts (B, T, E), each row summing to one, for ``x`` (B, D)."""
        weights: list[Tensor] = [gate.get_parameter("weight") for gate in self.of_task.values()]
        logits = nn.functional.linear(x, torch.cat(weights)).view(x.shape[0], len(self.of_task), -1)
        return logits.softmax(dim=2)
