"""A shared bottom, and a tower per task.

Examples
--------
The bottom is a single network, which serves both tasks.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> fields = (FieldSpec("user", rows=5, federated=False), FieldSpec("item", rows=7, federated=True))
>>> spec = ModelSpec(fields, numeric=1, tasks=("ctr", "ctcvr"))
>>> model = build_model(spec, ModelSettings(architecture="shared-bottom"), seed=0)
>>> categorical, numeric = torch.tensor([[1, 2], [3, 4], [0, 6]], dtype=torch.int32), torch.zeros(3, 1)
>>> model(categorical, numeric).shape  # (B, T)
torch.Size([3, 2])
"""

from __future__ import annotations

from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.towers import Towers


class SharedBottom(ScenarioModel):
    """Embeddings, one bottom for all tasks, one tower per task.

    References
    ----------
    Caruana, "Multitask Learning", Machine Learning 28, 1997.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__(spec, settings)
        self.bottom = plain_experts(1, self.inputs, settings.expert_layers, settings.dropout)
        self.towers = Towers(spec.tasks, settings.expert_layers[-1], settings.tower_layers, settings.dropout)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        x = self.embed(categorical, numeric)  # (B, D)
        hidden = self.bottom(x, fixed=self.fixed_columns(numeric)).squeeze(2)  # (B, 1, H)
        logits: Tensor = self.towers(hidden.expand(-1, len(self.spec.tasks), -1))
        return logits
