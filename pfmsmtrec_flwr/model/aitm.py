"""Tasks as steps of one path: each tower receives what the tower of the task before has learned.

Examples
--------
The calibrator adds to the loss where a step is more probable than the step before, here by 0.5.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> fields = (FieldSpec("user", rows=5, federated=False), FieldSpec("item", rows=7, federated=True))
>>> spec = ModelSpec(fields, numeric=1, tasks=("ctr", "ctcvr"))
>>> model = build_model(spec, ModelSettings(architecture="aitm"), seed=0)
>>> categorical, numeric = torch.tensor([[1, 2], [3, 4], [0, 6]], dtype=torch.int32), torch.zeros(3, 1)
>>> model(categorical, numeric).shape  # (B, T)
torch.Size([3, 2])
>>> logits = torch.tensor([0.25, 0.75]).logit().unsqueeze(0)
>>> round(float(model.auxiliary_loss(logits)), 3)  # model.calibrator_weight is 0.6
0.3
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.by_task import ModulesByTask
from pfmsmtrec_flwr.model.dropout import Dropout
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.towers import OutputLayer, hidden_layers


class AITM(ScenarioModel):
    """Shared embeddings, a bottom per task, towers that pass information on, and the calibrator.

    The path follows the order of the tasks in the specification.

    References
    ----------
    Xi et al., "Modeling the Sequential Dependence among Audience Multi-step Conversions with Multi-task Learning in
    Targeted Display Advertising", KDD 2021, sections 3.2 to 3.4.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__(spec, settings)
        self.bottoms = plain_experts(len(spec.tasks), self.inputs, settings.expert_layers, settings.dropout)
        self.towers = TransferTowers(spec.tasks, settings.expert_layers[-1], settings.tower_layers, settings.dropout)

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:  # noqa: ARG003
        """Return the parts of the bottoms, of which each task has one."""
        return frozenset({Part.EXPERT, Part.NORMALIZATION})

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        x = self.embed(categorical, numeric)  # (B, D)
        logits: Tensor = self.towers(self.bottoms(x, fixed=self.fixed_columns(numeric)).squeeze(1))
        return logits

    def auxiliary_loss(self, logits: Tensor, labelled: Tensor | None = None) -> Tensor | None:
        """Return the behavioural expectation calibrator; None if its weight is zero or there is only one task.

        It is the weight times the sum over the tasks of ``max(p_t - p_{t-1}, 0)``, averaged over the rows. With
        missing labels, the mean for a task is over the rows that have the labels of both tasks.
        """
        weight = self.settings.calibrator_weight
        if not weight or logits.shape[1] < 2:
            return None
        excess = logits.sigmoid().diff(dim=1).relu()
        if labelled is None:
            return weight * excess.sum(dim=1).mean()
        both = labelled[:, 1:] & labelled[:, :-1]
        return weight * (torch.where(both, excess, 0.0).sum(dim=0) / both.sum(dim=0).clamp(min=1)).sum()


class TransferTowers(nn.Module):
    """One tower per task, under the task's name; each but the first receives information from the one before."""

    def __init__(self, tasks: Sequence[str], inputs: int, layers: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.of_task = ModulesByTask(
            {task: TransferTower(inputs, layers, dropout, receives=index > 0) for index, task in enumerate(tasks)}
        )

    def forward(self, bottoms: Tensor) -> Tensor:
        """Return the logits (B, T) of ``bottoms`` (B, T, H)."""
        logits: list[Tensor] = []
        passed = bottoms[:, 0]  # unused: the first tower receives nothing
        for index, tower in enumerate(self.of_task.values()):
            logit, passed = tower(bottoms[:, index], passed)
            logits.append(logit)
        return torch.cat(logits, dim=1)


class TransferTower(nn.Module):
    """Hidden layers, the transfer from the task before, and a linear layer to the logit.

    The transfer is the last of the modules. A task's other layers therefore have the same positions whether or not
    the task is the first one of its scenario.
    """

    def __init__(self, inputs: int, layers: Sequence[int], dropout: float, *, receives: bool) -> None:
        super().__init__()
        width = [inputs, *layers][-1]
        self.hidden = nn.Sequential(*hidden_layers(inputs, layers, dropout))
        self.output = OutputLayer(width, 1)
        self.transfer = InformationTransfer(width, dropout) if receives else None

    def forward(self, bottom: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logit (B, 1) and z_t (B, k) for the task's bottom (B, H) and z_{t-1} (B, k)."""
        own = self.hidden(bottom)
        mixed = own if self.transfer is None else self.transfer(before, own)
        return self.output(mixed), mixed


class InformationTransfer(nn.Module):
    """Attention over a task's own representation and the information from the task before.

    ``z_t = sum_u w_u h1(u)`` over u in {p_{t-1}, q_t}, ``w = softmax(<h2(u), h3(u)> / sqrt(k))``, with
    ``p_{t-1} = g(z_{t-1})``; h1, h2 and h3 are linear layers; g is a linear layer, ReLU and dropout.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.information = nn.Sequential(nn.Linear(width, width), nn.ReLU(), Dropout(dropout))
        self.value = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width)

    def forward(self, before: Tensor, own: Tensor) -> Tensor:
        """Return z_t (B, k) for z_{t-1} and q_t, both (B, k)."""
        pair = torch.stack([self.information(before), own], dim=1)  # (B, 2, k)
        scores = (self.key(pair) * self.query(pair)).sum(dim=2, keepdim=True) / pair.shape[2] ** 0.5
        mixed: Tensor = (scores.softmax(dim=1) * self.value(pair)).sum(dim=1)
        return mixed
