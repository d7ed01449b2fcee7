"""The expert networks of a scenario, which are computed together.

Examples
--------
With a template, each of two tasks has its own copy of the last layer of the four experts.

>>> import torch
>>> from pfmsmtrec_flwr.model.experts import Experts, plain_experts
>>> x = torch.zeros(3, 5)  # (B, D)
>>> Experts(tasks=2, experts=4, inputs=5, layers=[8, 6], dropout=0.0, composition="hadamard")(x).shape  # (B, T, E, H)
torch.Size([3, 2, 4, 6])
>>> plain_experts(4, inputs=5, layers=[8, 6], dropout=0.0)(x).shape  # (B, 1, E, H)
torch.Size([3, 1, 4, 6])
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from pfmsmtrec_flwr.model.dropout import relu_dropout
from pfmsmtrec_flwr.model.template import Composition, TaskLayers, TemplateLinear


class Experts(nn.Module):
    """E perceptrons on one input; each layer is linear, with batch normalization, ReLU and dropout.

    With a template, each task has components of its own in the last layer, or in all layers. The layers without such
    components are computed once for all tasks.

    Parameters
    ----------
    tasks, experts
        Numbers of tasks T and experts E.
    inputs
        Width of the input.
    layers
        Widths of the layers; the last one is the width H of the experts' outputs.
    dropout
        Share of hidden units dropped in training.
    composition
        Composition of the template's components; ``none``: plain experts.
    task_layers
        Layers with task-specific components.
    """

    def __init__(
        self,
        tasks: int,
        experts: int,
        inputs: int,
        layers: Sequence[int],
        dropout: float,
        composition: Composition = "none",
        task_layers: TaskLayers = "last",
    ) -> None:
        super().__init__()
        self.experts = experts
        self.dropout = dropout
        widths = [inputs, *layers]
        self.layers = nn.ModuleList(
            TemplateLinear(
                tasks,
                experts,
                before,
                after,
                composition if task_layers == "all" or index == len(layers) - 1 else "none",
            )
            for index, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(layer.copies * layer.outputs) for layer in self.layers if isinstance(layer, TemplateLinear)
        )

    def forward(self, x: Tensor, scales: Sequence[Tensor] | None = None, fixed: int = 0) -> Tensor:
        """Return the experts' outputs (B, T or 1, E, H).

        Parameters
        ----------
        x
            One input for all experts (B, D), or one for each expert (B, E, D).
        scales
            Factors of each layer's outputs, (B, C, O) for each layer; None: the outputs are not scaled.
        fixed
            Number of the last columns of one input for all experts that need no gradient; see `products.affine`.
        """
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            hidden = layer(x, 0 if index else fixed)  # (B, C, O)
            rows, copies, width = hidden.shape
            hidden = norm(hidden.reshape(rows, copies * width))
            x = relu_dropout(hidden, self.dropout, self.training).view(rows, copies, width)
            if scales is not None:
                x = x * scales[index]
        return x.view(rows, copies // self.experts, self.experts, width)


def plain_experts(experts: int, inputs: int, layers: Sequence[int], dropout: float) -> Experts:
    """Return E perceptrons without a template, with outputs (B, 1, E, H); see `Experts`."""
    return Experts(1, experts, inputs, layers, dropout)
