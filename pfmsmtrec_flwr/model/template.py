"""The parameter template: expert weights composed of global, task-specific and scenario-specific components.

Examples
--------
The weight of each task is the product of G = 2, S = 3 and the task's T, 1 and 10.

>>> import torch
>>> from pfmsmtrec_flwr.model.template import TemplateLinear
>>> layer = TemplateLinear(tasks=2, experts=1, inputs=1, outputs=1)
>>> state = {name: torch.zeros_like(tensor) for name, tensor in layer.state_dict().items()}
>>> state["weight_global"] += 2
>>> state["weight_scenario"] += 3
>>> state["weight_task"] += torch.tensor([1.0, 10.0]).view(2, 1, 1, 1)
>>> _ = layer.load_state_dict(state)
>>> weight, bias = layer.compose()  # (C, I, O), (C, O)
>>> weight.flatten().tolist()
[6.0, 60.0]
>>> layer(torch.ones(1, 1)).tolist()  # (B, C, O)
[[[6.0], [60.0]]]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Composition = Literal["hadamard", "additive", "none"]


class TemplateLinear(nn.Module):
    """One linear layer of all experts, with weights that the template decouples.

    ``hadamard``: ``W[e,t] = G[e] * T[t,e] * S[e]``; ``additive``: ``W[e,t] = G[e] + T[t,e] + S[e]``. The bias is
    ``g + t + s`` in both. ``none``: plain experts, whose weights count as scenario-specific and serve every task.
    Every scenario holds its own module, so the index *s* of the equations does not appear.

    Parameters
    ----------
    tasks, experts
        Numbers of tasks T and experts E.
    inputs, outputs
        Widths of the layer's input I and output O.
    composition
        Combination of the components.

    References
    ----------
    The decoupling is the paper's (PF-MSMTrec, "parameter template"). The Hadamard product of a shared and a specific
    matrix is that of STAR (Sheng et al., CIKM 2021); a task factor is added here.
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
        """Draw G by He initialisation of the composed weight; T and S start neutral, and all biases at zero.

        Parameters
        ----------
        generator
            Function that returns the random generator of a parameter by its name in this module.
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
        """Return the weights (C, I, O) and biases (C, O), where C = T * E, task-major, or C = E without a template."""
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
            One input for all copies (B, I), or one for each copy (B, C, I).

        Returns
        -------
        Tensor
            Outputs of the copies (B, C, O).
        """
        weight, bias = self.compose()
        if x.dim() == 2:
            # One product for all copies: (B, I) @ (I, C * O).
            wide = weight.transpose(0, 1).flatten(1)
            return torch.addmm(bias.flatten(), x, wide).view(-1, self.copies, self.outputs)
        product = torch.baddbmm(bias.unsqueeze(1), x.transpose(0, 1), weight)  # (C, B, O)
        return product.transpose(0, 1)
