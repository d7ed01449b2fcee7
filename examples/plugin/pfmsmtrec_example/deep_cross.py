"""Cross layers beside a shared bottom, after DCN-V2 (Wang et al., WWW 2021)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model import ModelSpec, Part, ScenarioModel
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.towers import Towers


class CrossNetwork(nn.Module):
    """Layers that multiply their input's features with those of x_0: ``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l``.

    Parameters
    ----------
    inputs
        Width D of the input.
    layers
        Number of layers.
    """

    def __init__(self, inputs: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, inputs) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the crossed features (B, D) of ``x`` (B, D)."""
        crossed = x
        for layer in self.layers:
            crossed = x * layer(crossed) + crossed
        return crossed


class DeepCross(ScenarioModel):
    """Embeddings, cross layers beside one bottom for all tasks, one tower per task."""

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__(spec, settings)
        self.cross = CrossNetwork(self.inputs, layers=2)
        self.bottom = plain_experts(1, self.inputs, settings.expert_layers, settings.dropout)
        width = self.inputs + settings.expert_layers[-1]
        self.towers = Towers(spec.tasks, width, settings.tower_layers, settings.dropout)

    def own_parts(self) -> Mapping[str, Part]:
        """Let cross layers travel as experts do."""
        return {"cross": Part.EXPERT}

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        x = self.embed(categorical, numeric)  # (B, D)
        hidden = torch.cat([self.cross(x), self.bottom(x).flatten(1)], dim=1)  # (B, D + H)
        logits: Tensor = self.towers(hidden.unsqueeze(1).expand(-1, len(self.spec.tasks), -1))
        return logits
