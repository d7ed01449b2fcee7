"""The parameter template: an expert's weights composed of global, scenario-specific and task-specific components.

Examples
--------
The shared part G + S is 5; the tasks' own components T are 1 and -2.

>>> import torch
>>> from pfmsmtrec_flwr.model.template import TemplateLinear
>>> layer = TemplateLinear(tasks=2, experts=1, inputs=1, outputs=1, composition="additive")
>>> state = {name: torch.zeros_like(tensor) for name, tensor in layer.state_dict().items()}
>>> state["weight"] += 5
>>> state["weight_task"] += torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
>>> _ = layer.load_state_dict(state)
>>> weight, bias = layer.compose()  # (T, E, I, O), (T, E, O)
>>> weight.flatten().tolist()
[6.0, 3.0]
>>> layer(torch.ones(1, 1)).tolist()  # (B, T * E, O)
[[[6.0], [3.0]]]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.model.products import affine

Composition = Literal["additive", "hadamard", "none"]
TaskLayers = Literal["last", "all"]


class TemplateLinear(nn.Module):
    """One linear layer of all experts, with weights that the template decouples.

    ``additive``: ``W[e,t] = (G[e] + S[e]) + T[t,e]``; ``hadamard``: ``W[e,t] = (G[e] + S[e]) * (1 + T[t,e])``. The bias
    is ``(g + s) + t`` in both. ``none``: ``W[e] = G[e] + S[e]`` for every task. Every scenario holds its own module, so
    the index *s* of the equations does not appear.

    G and S have the same gradient. A scenario therefore trains their sum, one tensor of the size of a plain expert's.
    The server moves the two apart (`pfmsmtrec_flwr.methods.pf_msmtrec.PFMSMTRec.personalize`).

    Parameters
    ----------
    tasks, experts
        Numbers of tasks T and experts E.
    inputs, outputs
        Widths of the layer's input I and output O.
    composition
        Combination of the components.

    Attributes
    ----------
    weight, bias
        G + S, (E, I, O) and (E, O).
    weight_task, bias_task
        T, (T, E, I, O) and (T, E, O), neutral at zero; None without task-specific components.
    copies
        Number C of networks: T * E, task-major, or E where the tasks have no components of their own.

    References
    ----------
    The decoupling is the paper's (PF-MSMTrec, "parameter template"). Components that are neutral at zero: pFedPara
    (Hyeon-Woo et al., ICLR 2022), whose weights are ``W1 * (W2 + 1)``.
    """

    weight_task: nn.Parameter | None
    bias_task: nn.Parameter | None

    def __init__(self, tasks: int, experts: int, inputs: int, outputs: int, composition: Composition = "none") -> None:
        super().__init__()
        self.composition = composition
        self.experts = experts
        self.inputs = inputs
        self.outputs = outputs
        self.copies = experts if composition == "none" else tasks * experts
        self.weight = nn.Parameter(torch.empty(experts, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(experts, outputs))
        if composition == "none":
            self.register_parameter("weight_task", None)
            self.register_parameter("bias_task", None)
        else:
            self.weight_task = nn.Parameter(torch.empty(tasks, experts, inputs, outputs))
            self.bias_task = nn.Parameter(torch.empty(tasks, experts, outputs))

    def initialise(self, generator: Callable[[str], torch.Generator]) -> None:
        """Draw the weights by He initialisation; T and all biases start at zero.

        Parameters
        ----------
        generator
            Function that returns the random generator of a parameter by its name in this module.
        """
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name == "weight":
                    parameter.normal_(0.0, math.sqrt(2.0 / self.inputs), generator=generator(name))
                else:
                    parameter.zero_()

    def compose(self) -> tuple[Tensor, Tensor]:
        """Return the weights (T, E, I, O) and biases (T, E, O); T is 1 where all tasks have the same."""
        if self.weight_task is None or self.bias_task is None:
            return self.weight.unsqueeze(0), self.bias.unsqueeze(0)
        if self.composition == "hadamard":
            weight = torch.addcmul(self.weight, self.weight, self.weight_task)
        else:
            weight = self.weight + self.weight_task
        return weight, self.bias + self.bias_task

    def forward(self, x: Tensor, fixed: int = 0) -> Tensor:
        """Apply every copy of the layer.

        Parameters
        ----------
        x
            One input for all copies (B, I); one for each expert (B, E, I), which serves all tasks; or one for each copy
            (B, C, I).
        fixed
            Number of the last columns of one input for all copies that need no gradient; see `products.affine`.

        Returns
        -------
        Tensor
            Outputs of the copies (B, C, O).
        """
        weight, bias = self.compose()
        if x.dim() == 2:
            wide = weight.permute(2, 0, 1, 3).flatten(1)  # (I, C * O): one product for all copies
            return affine(x, wide, bias.flatten(), fixed).view(-1, self.copies, self.outputs)
        if x.shape[1] == self.experts:
            wide = weight.permute(1, 2, 0, 3).flatten(2)  # (E, I, T * O): one product for all tasks
            product = torch.baddbmm(bias.transpose(0, 1).flatten(1).unsqueeze(1), x.transpose(0, 1), wide)
            return product.view(*product.shape[:2], -1, self.outputs).permute(1, 2, 0, 3).flatten(1, 2)
        product = torch.baddbmm(bias.flatten(0, 1).unsqueeze(1), x.transpose(0, 1), weight.flatten(0, 1))  # (C, B, O)
        return product.transpose(0, 1)
