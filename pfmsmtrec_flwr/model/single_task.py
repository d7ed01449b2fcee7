"""A network for each task, with nothing in common.

Examples
--------
The loss of one task has no gradient in the tower of the other.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> fields = (FieldSpec("user", rows=5, federated=False), FieldSpec("item", rows=7, federated=True))
>>> spec = ModelSpec(fields, numeric=1, tasks=("ctr", "ctcvr"))
>>> model = build_model(spec, ModelSettings(architecture="single-task"), seed=0)
>>> categorical, numeric = torch.tensor([[1, 2], [3, 4], [0, 6]], dtype=torch.int32), torch.zeros(3, 1)
>>> logits = model(categorical, numeric)  # (B, T)
>>> logits[:, 0].sum().backward()
>>> float(model.towers.of_task["ctcvr"].get_parameter("0.weight").grad.abs().max())
0.0
"""

from __future__ import annotations

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.towers import Towers


class SingleTask(ScenarioModel):
    """Embeddings, a bottom and a tower for each task; training them together equals training them apart.

    The embeddings of all tasks lie side by side in one table of width T times ``embedding_dim``, of which each task
    reads its slice. No value enters the losses of two tasks, and Adam updates each value by itself.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        tasks = len(spec.tasks)
        super().__init__(spec, settings.model_copy(update={"embedding_dim": tasks * settings.embedding_dim}))
        self.settings = settings
        self.inputs = len(spec.fields) * settings.embedding_dim + spec.numeric
        self.bottoms = plain_experts(tasks, self.inputs, settings.expert_layers, settings.dropout)
        self.towers = Towers(spec.tasks, settings.expert_layers[-1], settings.tower_layers, settings.dropout)

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:  # noqa: ARG003
        """Return the parts of the bottoms, one per task, and of the tables, whose rows hold all tasks' embeddings."""
        return frozenset({Part.EXPERT, Part.NORMALIZATION, Part.FEDERATED_EMBEDDING, Part.LOCAL_EMBEDDING})

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        x = self._apart(self.embed(categorical, numeric))
        logits: Tensor = self.towers(self.bottoms(x).squeeze(1))
        return logits

    def _apart(self, x: Tensor) -> Tensor:
        """Return each task's input (B, T, D) for the embedded input of all tasks (B, F * T * dim + N)."""
        tasks, fields = len(self.spec.tasks), len(self.spec.fields)
        embedded, numeric = x.tensor_split([x.shape[1] - self.spec.numeric], dim=1)
        own = embedded.view(x.shape[0], fields, tasks, self.settings.embedding_dim).transpose(1, 2).flatten(2)
        return torch.cat([own, numeric.unsqueeze(1).expand(-1, tasks, -1)], dim=2)
