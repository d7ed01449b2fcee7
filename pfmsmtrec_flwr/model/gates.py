"""Gates: each task's shares of the experts, and scales of hidden units.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.model.gates import Gates
>>> gates = Gates(["ctr", "ctcvr"], experts=4, inputs=5)
>>> gates(torch.zeros(1, 5)).tolist()  # (B, T, E)
[[[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]]]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.model.by_task import ModulesByTask


class Gates(nn.Module):
    """One softmax gate per task.

    References
    ----------
    Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018,
    section 4.2.
    """

    def __init__(self, tasks: Sequence[str], experts: int, inputs: int) -> None:
        super().__init__()
        self.of_task = ModulesByTask({task: nn.Linear(inputs, experts, bias=False) for task in tasks})

    def forward(self, x: Tensor) -> Tensor:
        """Return the shares of the experts (B, T, E), which sum to one over E.

        Parameters
        ----------
        x
            One input for all gates (B, D), or one for each gate (B, T, D).
        """
        weights: list[Tensor] = [gate.get_parameter("weight") for gate in self.of_task.values()]
        if x.dim() == 2:
            logits = nn.functional.linear(x, torch.cat(weights)).view(x.shape[0], len(self.of_task), -1)
        else:
            logits = torch.einsum("btd,ted->bte", x, torch.stack(weights))
        return logits.softmax(dim=2)


class SharedGate(nn.Linear):
    """A softmax gate that serves no task: it mixes this level's experts for the next level's shared experts."""

    def __init__(self, experts: int, inputs: int) -> None:
        super().__init__(inputs, experts, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shares of the experts (B, E), which sum to one over E, for ``x`` (B, D)."""
        return super().forward(x).softmax(dim=1)


class GateUnit(nn.Module):
    """Scales between 0 and γ = 2 that follow from prior information: linear, ReLU, linear, γ times the sigmoid.

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
