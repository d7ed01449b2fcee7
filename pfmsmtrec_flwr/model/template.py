"""The parameter template: expert weights composed of global, task-specific and scenario-specific components."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Composition = Literal["hadamard", "additive", "none"]


class TemplateLinear(nn.Module):
    """One linear layer of all experts, its weights decoupled by the template.

    ``hadamard``: ``W[e,t] = G[e] * T[t,e] * S[e]``; ``additive``: ``W[e,t] = G[e] + T[t,e] + S[e]``; bias
    ``g + t + s`` in both. ``none``: plain experts, whose weight counts as scenario-specific and serves every task.
    The scenario is the one that holds this module, so the index *s* of the equations does not appear.

    Parameters
    ----------
    tasks, experts
        T and E.
    inputs, outputs
        Width of the layer's input I and output O.
    composition
        How the components combine.

    References
    ----------
    The decoupling is the paper's (PF-MSMTrec, "parameter template"); the Hadamard product of a shared and a specific
    matrix is that of STAR (Sheng et al., CIKM 2021), to which a task factor is added here.
    """

    weight_global: nn.Parameter | None
    weight_task: nn.Parameter | None

    def __init__(
        self,
        tasks: int,
        experts: int,
        inputs: int,
        outputs: int,
        composition: Composition = "hadamard",
    ) -> None:
        super().__init__()
        self.composition = composition
        self.inputs = inputs
        self.outputs = outputs
        self.weight_scenario = nn.Parameter(torch.empty(experts, inputs, outputs))
        self.bias_scenario = nn.Parameter(torch.empty(experts, outputs))
        if composition == "none":
            self.copies = experts
            for name in ("weight_global", "bias_global", "weight_task", "bias_task"):
                self.register_parameter(name, None)
        else:
            self.copies = tasks * experts
            self.weight_global = nn.Parameter(torch.empty(experts, inputs, outputs))
            self.bias_global = nn.Parameter(torch.empty(experts, outputs))
            self.weight_task = nn.Parameter(torch.empty(tasks, experts, inputs, outputs))
            self.bias_task = nn.Parameter(torch.empty(tasks, experts, outputs))

    def initialise(self, generator: Callable[[str], torch.Generator]) -> None:
        """He initialisation of the composed weight: G carries it, T and S start neutral, biases at zero.

        Parameters
        ----------
        generator
            Gives the random generator of a parameter by its name in this module.
        """
        neutral = 1.0 if self.composition == "hadamard" else 0.0
        carrier = "weight_scenario" if self.composition == "none" else "weight_global"
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name == carrier:
                    parameter.normal_(0.0, math.sqrt(2.0 / self.inputs), generator=generator(name))
                else:
                    parameter.fill_(neutral if name.startswith("weight") else 0.0)

    def compose(self) -> tuple[Tensor, Tensor]:
        """Return the weights (C, I, O) and biases (C, O), C = T * E task-major, or E without a template."""
        if self.weight_global is None or self.weight_task is None:
            return self.weight_scenario, self.bias_scenario
        if self.composition == "hadamard":
            weight = self.weight_task * (self.weight_global * self.weight_scenario)  # (T, E, I, O)
        else:
            weight = self.weight_task + (self.weight_global + self.weight_scenario)
        bias = self.bias_task + (self.bias_global + self.bias_scenario)  # (T, E, O)
        return weight.flatten(0, 1), bias.flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply every copy of the layer.

        Parameters
        ----------
        x
            (B, I), one input for all copies, or (B, C, I), each copy's own.

        Returns
        -------
        Tensor
            (B, C, O)
        """
        weight, bias = self.compose()
        if x.dim() == 2:
            # One product for all copies: (B, I) @ (I, C * O).
            wide = weight.transpose(0, 1).flatten(1)
            return torch.addmm(bias.flatten(), x, wide).view(-1, self.copies, self.outputs)
        product = torch.baddbmm(bias.unsqueeze(1), x.transpose(0, 1), weight)  # (C, B, O)
        return product.transpose(0, 1)
