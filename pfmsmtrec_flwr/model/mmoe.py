"""The Multi-gate Mixture-of-Experts of one scenario.

Examples
--------
Each task mixes the four experts with shares that sum to one.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> fields = (FieldSpec("user", rows=5, federated=False), FieldSpec("item", rows=7, federated=True))
>>> spec = ModelSpec(fields, numeric=1, tasks=("ctr", "ctcvr"))
>>> model = build_model(spec, ModelSettings(architecture="mmoe"), seed=0)
>>> categorical, numeric = torch.tensor([[1, 2], [3, 4], [0, 6]], dtype=torch.int32), torch.zeros(3, 1)
>>> model(categorical, numeric).shape  # (B, T)
torch.Size([3, 2])
>>> model.expert_shares(categorical, numeric).shape  # (B, T, E)
torch.Size([3, 2, 4])
"""

from __future__ import annotations

from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.experts import Experts
from pfmsmtrec_flwr.model.gates import Gates
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.towers import Towers


class MMoE(ScenarioModel):
    """Embeddings, experts, one gate and one tower per task.

    References
    ----------
    Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018,
    section 4.2.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__(spec, settings)
        self.experts = Experts(
            len(spec.tasks),
            settings.experts,
            self.inputs,
            settings.expert_layers,
            settings.dropout,
            settings.template,
            settings.task_layers,
        )
        self.gates = Gates(spec.tasks, settings.experts, self.inputs)
        self.towers = Towers(spec.tasks, settings.expert_layers[-1], settings.tower_layers, settings.dropout)

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:
        """Return, with a template, the component T and the normalization of each task's copies of the experts."""
        return frozenset() if settings.template == "none" else frozenset({Part.EXPERT_TASK, Part.NORMALIZATION})

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        x = self.embed(categorical, numeric)  # (B, D)
        outputs = self.experts(x, fixed=self.fixed_columns(numeric))  # (B, T or 1, E, H)
        shares = self.gates(x).unsqueeze(3)  # (B, T, E, 1)
        logits: Tensor = self.towers((shares * outputs).sum(dim=2))
        return logits

    def expert_shares(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the outputs of the gates (B, T, E)."""
        shares: Tensor = self.gates(self.embed(categorical, numeric))
        return shares
