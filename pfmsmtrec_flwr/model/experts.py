"""The expert networks of a scenario, computed together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from pfmsmtrec_flwr.model.dropout import dropout
from pfmsmtrec_flwr.model.template import Composition, TemplateLinear


class Experts(nn.Module):
    """E perceptrons on one input; each layer linear, batch normalization, ReLU, dropout.

    With a template each task has its own composed copy of every expert, so that C = T * E networks are computed;
    without one, C = E networks serve all tasks.

    Parameters
    ----------
    tasks, experts
        T and E.
    inputs
        Width of the input.
    layers
        Widths of the layers; the last one is the experts' output H.
    dropout
        Share of hidden units dropped in training.
    """

    def __init__(
        self,
        tasks: int,
        experts: int,
        inputs: int,
        layers: Sequence[int],
        dropout: float,
        composition: Composition,
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.experts = experts
        self.dropout = dropout
        widths = [inputs, *layers]
        self.layers = nn.ModuleList(
            TemplateLinear(tasks, experts, before, after, composition) for before, after in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(layer.copies * layer.outputs) for layer in self.layers if isinstance(layer, TemplateLinear)
        )

    def forward(self, x: Tensor, scales: Sequence[Tensor] | None = None) -> Tensor:
        """Return the experts' outputs (B, T or 1, E, H).

        Parameters
        ----------
        x
            (B, D), one input for all, or (B, C, D), each network's own.
        scales
            What each layer's outputs are multiplied by, (B, C, O) for each layer; none: they stay as they are.
        """
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            hidden = layer(x)  # (B, C, O)
            rows, copies, width = hidden.shape
            hidden = functional.relu(norm(hidden.reshape(rows, copies * width)), inplace=True)
            x = dropout(hidden, self.dropout, self.training).view(rows, copies, width)
            if scales is not None:
                x = x * scales[index]
        return x.view(rows, copies // self.experts, self.experts, width)


def plain_experts(experts: int, inputs: int, layers: Sequence[int], dropout: float) -> Experts:
    """Return E perceptrons without a template; see `Experts`. Their outputs are (B, 1, E, H)."""
    return Experts(1, experts, inputs, layers, dropout, "none")
