"""Embeddings and hidden units scaled by what is known of the scenario and of the person.

Examples
--------
The last categorical column is the number of the row's scenario, 1 or 2.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> fields = (FieldSpec("item", rows=7, federated=True), FieldSpec("scenario", rows=3, federated=False))
>>> spec = ModelSpec(fields, numeric=1, tasks=("ctr", "ctcvr"), scenarios=2)
>>> model = build_model(spec, ModelSettings(architecture="pepnet"), seed=0)
>>> categorical, numeric = torch.tensor([[2, 1], [4, 2], [6, 1]], dtype=torch.int32), torch.zeros(3, 1)
>>> model(categorical, numeric).shape  # (B, T)
torch.Size([3, 2])
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.gates import GateUnit
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.scenarios import personal_columns, require_scenarios, scenario_columns
from pfmsmtrec_flwr.model.towers import Towers


class PEPNet(ScenarioModel):
    """Embeddings scaled by scenario (EPNet), a network per task with hidden units scaled by person (PPNet).

    The prior of the domain is the scenario's embedding, without dropout. The prior of the person is the embeddings of
    the local fields or, without local fields, the embedded input. A task's network has the layers of an expert, then
    those of a tower.

    References
    ----------
    Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior
    Information", KDD 2023, sections 3.2 to 3.4.

    Raises
    ------
    UserError
        The rows come from a single scenario.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        require_scenarios(spec, "pepnet")
        super().__init__(spec, settings)
        tasks = len(spec.tasks)
        layers = (*settings.expert_layers, *settings.tower_layers)
        self._domain = scenario_columns(spec, settings.embedding_dim)
        personal = personal_columns(spec, settings.embedding_dim)
        self._personal = personal if personal.stop > personal.start else slice(0, self.inputs)
        known = self._personal.stop - self._personal.start + self.inputs
        self.domain_gate = GateUnit(settings.embedding_dim + self.inputs, self.inputs)
        self.personal_gates = nn.ModuleList(GateUnit(known, tasks * width) for width in layers)
        self.networks = plain_experts(tasks, self.inputs, layers, settings.dropout)
        self.towers = Towers(spec.tasks, layers[-1], (), settings.dropout)

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:  # noqa: ARG003
        """Return the parts of the networks, of which each task has one, and of the gates that scale their layers."""
        return frozenset({Part.EXPERT, Part.NORMALIZATION, Part.GATE})

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        x = self.embed(categorical, numeric, kept=self._domain)  # (B, D)
        # Detached: the gates train their priors, but none of their other inputs.
        scaled = x * self.domain_gate(torch.cat([x[:, self._domain], x.detach()], dim=1))
        known = torch.cat([x[:, self._personal], scaled.detach()], dim=1)
        scales = [gate(known).view(x.shape[0], len(self.spec.tasks), -1) for gate in self.personal_gates]  # (B, T, O)
        logits: Tensor = self.towers(self.networks(scaled, scales).squeeze(1))
        return logits
