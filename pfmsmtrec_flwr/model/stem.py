"""Shared and task-specific embeddings: every task reads all experts, and trains none of another task's.

Examples
--------
Each value has a vector for each of the two tasks and one that they share.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> spec = ModelSpec((FieldSpec("item", rows=7, federated=True),), numeric=1, tasks=("ctr", "ctcvr"))
>>> model = build_model(spec, ModelSettings(architecture="stem", embedding_dim=4), seed=0)
>>> table = model.federated_embeddings.weight  # (rows, (T + 1) * embedding_dim)
>>> table.shape
torch.Size([7, 12])
>>> logits = model(torch.tensor([[2], [4], [6]], dtype=torch.int32), torch.zeros(3, 1))  # (B, T)
>>> logits[:, 0].sum().backward()  # of ctr
>>> [bool(part.any()) for part in table.grad.split(4, dim=1)]  # ctr, ctcvr, shared
[True, False, True]
"""

from __future__ import annotations

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.gates import Gates
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.ple import ExpertCounts
from pfmsmtrec_flwr.model.towers import Towers


class STEM(ScenarioModel):
    """Embeddings and experts of each task's own and shared ones, a gate over all experts and a tower per task.

    A row of a table holds a vector for each task, in the order of the tasks, and a shared one. A task's experts read
    its own vectors, the shared experts read the shared ones. A task's gate reads the sum of both and mixes all experts,
    but the outputs of other tasks' experts are constants to it: its loss reaches neither their parameters nor their
    embeddings. Numeric columns are part of every input.

    References
    ----------
    Su et al., "STEM: Unleashing the Power of Embeddings for Multi-Task Recommendation", AAAI 2024, the network
    STEM-Net, and the authors' code (LiangcaiSu/STEM), with one layer as in their configuration. Gates are linear
    here, as in every architecture of this package; theirs are perceptrons.
    """

    sources: Tensor
    trained: Tensor

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__(spec, settings)
        counts = ExpertCounts(len(spec.tasks), settings.specific_experts, settings.experts)
        width = len(spec.fields) * settings.embedding_dim + spec.numeric
        self.experts = plain_experts(counts.total, width, settings.expert_layers, settings.dropout)
        self.gates = Gates(spec.tasks, counts.total, width)
        self.towers = Towers(spec.tasks, settings.expert_layers[-1], settings.tower_layers, settings.dropout)
        # Not persistent: they follow from the settings, so they need not be saved or sent.
        sources = torch.arange(counts.tasks + 1).repeat_interleave(
            torch.tensor([counts.specific] * counts.tasks + [counts.shared]), output_size=counts.total
        )
        self.register_buffer("sources", sources, persistent=False)  # (E,), T stands for the shared input
        trained = torch.zeros(counts.tasks, counts.total).scatter(1, counts.visible, 1.0)
        self.register_buffer("trained", trained, persistent=False)  # (T, E), 1 where a task trains an expert

    @classmethod
    def table_width(cls, spec: ModelSpec, settings: ModelSettings) -> int:
        """Return the width of a row of the tables: a vector for each task and a shared one."""
        return (len(spec.tasks) + 1) * settings.embedding_dim

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:
        """Return the tables, the gates over all experts and, if tasks have experts of their own, the experts."""
        tables = frozenset({Part.FEDERATED_EMBEDDING, Part.LOCAL_EMBEDDING})
        experts = frozenset({Part.EXPERT, Part.NORMALIZATION, Part.GATE})
        return tables | experts if settings.specific_experts else tables

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        inputs = self._inputs(categorical, numeric)  # (B, T + 1, D)
        outputs = self.experts(inputs[:, self.sources]).squeeze(1)  # (B, E, H)
        shares = self._shares(inputs)  # (B, T, E)
        mixed = (shares * self.trained) @ outputs + (shares * (1 - self.trained)) @ outputs.detach()  # (B, T, H)
        logits: Tensor = self.towers(mixed)
        return logits

    def expert_shares(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the outputs of the gates (B, T, E)."""
        return self._shares(self._inputs(categorical, numeric))

    def _shares(self, inputs: Tensor) -> Tensor:
        shares: Tensor = self.gates(inputs[:, :-1] + inputs[:, -1:])
        return shares

    def _inputs(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the input of each task and the shared one (B, T + 1, D)."""
        fields, sources = len(self.spec.fields), len(self.spec.tasks) + 1
        embedded = self.embed(categorical, numeric)[:, : self.inputs - self.spec.numeric]
        vectors = embedded.view(embedded.shape[0], fields, sources, self.settings.embedding_dim)
        vectors = vectors.transpose(1, 2).flatten(2)  # (B, T + 1, F * embedding_dim)
        return torch.cat([vectors, numeric.unsqueeze(1).expand(-1, sources, -1)], dim=2)
