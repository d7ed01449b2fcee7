"""Gates: how much is taken of each expert, or of each hidden unit."""

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
        """Return the shares of the experts (B, T, E), each row summing to one.

        Parameters
        ----------
        x
            (B, D), one input for all gates, or (B, T, D), each gate's own.
        """
        weights: list[Tensor] = [gate.get_parameter("weight") for gate in self.of_task.values()]
        if x.dim() == 2:
            logits = nn.functional.linear(x, torch.cat(weights)).view(x.shape[0], len(self.of_task), -1)
        else:
            logits = torch.einsum("btd,ted->bte", x, torch.stack(weights))
        return logits.softmax(dim=2)


class SharedGate(nn.Linear):
    """A softmax gate that serves no task: what the next level's shared experts take of this level's."""

    def __init__(self, experts: int, inputs: int) -> None:
        super().__init__(inputs, experts, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shares of the experts (B, E), each row summing to one, for ``x`` (B, D)."""
        return super().forward(x).softmax(dim=1)


class GateUnit(nn.Module):
    """Scales between 0 and γ = 2, drawn from what is known beforehand: linear, ReLU, linear, γ times the sigmoid.

    References
    ----------
    Gate NU of Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior
    Information", KDD 2023, section 3.2.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.crossing = nn.Linear(inputs, outputs)
        self.scoring = nn.Linear(outputs, outputs)

    def forward(self, prior: Tensor) -> Tensor:
        """Return the scales (B, O) for ``prior`` (B, I)."""
        scores: Tensor = self.scoring(self.crossing(prior).relu())
        return 2 * scores.sigmoid()
