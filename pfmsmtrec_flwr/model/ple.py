"""Progressive layered extraction: experts of each task's own, and shared ones.

Examples
--------
Each of the two tasks has one expert of its own and shares the other two: it takes nothing of the other task's expert.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> fields = (FieldSpec("user", rows=5, federated=False), FieldSpec("item", rows=7, federated=True))
>>> spec = ModelSpec(fields, numeric=1, tasks=("ctr", "ctcvr"))
>>> model = build_model(spec, ModelSettings(architecture="ple", experts=2), seed=0)
>>> categorical, numeric = torch.tensor([[1, 2], [3, 4], [0, 6]], dtype=torch.int32), torch.zeros(3, 1)
>>> model(categorical, numeric).shape  # (B, T)
torch.Size([3, 2])
>>> model.expert_shares(categorical, numeric)[0].gt(0).tolist()  # (T, E)
[[True, False, True, True], [False, True, True, True]]
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.gates import Gates, SharedGate
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.towers import Towers


@dataclass(frozen=True, slots=True)
class ExpertCounts:
    """Numbers of a level's experts: first those of each task, in the order of the tasks, then the shared ones.

    Attributes
    ----------
    tasks
        Number of tasks T.
    specific
        Number of each task's own experts.
    shared
        Number of experts that all tasks share.
    """

    tasks: int
    specific: int
    shared: int

    @property
    def total(self) -> int:
        """Number of experts E."""
        return self.tasks * self.specific + self.shared

    @property
    def visible(self) -> Tensor:
        """Numbers of the experts that each task sees, its own first, (T, specific + shared) int64."""
        own = torch.arange(self.tasks * self.specific).view(self.tasks, self.specific)
        shared = torch.arange(self.tasks * self.specific, self.total).expand(self.tasks, -1)
        return torch.cat([own, shared], dim=1)


class PLE(ScenarioModel):
    """Embeddings, levels of extraction, one tower per task; a single level is customized gate control (CGC).

    References
    ----------
    Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized
    Recommendations", RecSys 2020, sections 4.1 and 4.2, equations 1 to 6.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__(spec, settings)
        self.counts = ExpertCounts(len(spec.tasks), settings.specific_experts, settings.experts)
        levels = divide(settings.expert_layers, settings.extraction_levels)
        widths = [self.inputs, *(layers[-1] for layers in levels)]
        self.levels = nn.ModuleList(
            Extraction(spec.tasks, self.counts, width, layers, settings.dropout)
            for width, layers in zip(widths, levels, strict=False)
        )
        self.shared_gates = nn.ModuleList(SharedGate(self.counts.total, width) for width in widths[: len(levels) - 1])
        self.towers = Towers(spec.tasks, widths[-1], settings.tower_layers, settings.dropout)

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:
        """Return the experts, if tasks have some of their own, and the gates over all of them that levels share."""
        if not settings.specific_experts:
            return frozenset()
        experts = frozenset({Part.EXPERT, Part.NORMALIZATION})
        return experts | {Part.GATE} if settings.extraction_levels > 1 else experts

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        logits: Tensor = self.towers(self._extract(categorical, numeric).of_tasks)
        return logits

    def expert_shares(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the outputs of the last level's gates (B, T, E), which are zero for other tasks' experts."""
        return self._extract(categorical, numeric).shares

    def _extract(self, categorical: Tensor, numeric: Tensor) -> Extracted:
        shared = self.embed(categorical, numeric)  # (B, D)
        extracted: Extracted = self.levels[0](shared, shared)
        for gate, level in zip(self.shared_gates, self.levels[1:], strict=True):
            shared = (gate(shared).unsqueeze(1) @ extracted.outputs).squeeze(1)  # (B, H)
            extracted = level(self._inputs_of_experts(extracted.of_tasks, shared), extracted.of_tasks)
        return extracted

    def _inputs_of_experts(self, of_tasks: Tensor, shared: Tensor) -> Tensor:
        """Return each expert's input (B, E, H): its task's mixture (B, T, H), or the shared one (B, H)."""
        own = of_tasks.repeat_interleave(self.counts.specific, dim=1)
        return torch.cat([own, shared.unsqueeze(1).expand(-1, self.counts.shared, -1)], dim=1)


@dataclass(frozen=True, slots=True)
class Extracted:
    """Outputs of a level.

    Attributes
    ----------
    outputs
        Outputs of the experts (B, E, H).
    shares
        Shares of the experts in each task's mixture (B, T, E).
    of_tasks
        Mixture of the experts for each task (B, T, H).
    """

    outputs: Tensor
    shares: Tensor
    of_tasks: Tensor


class Extraction(nn.Module):
    """One level: experts, and a gate per task over its own experts and the shared ones.

    Parameters
    ----------
    tasks
        Names of the tasks.
    counts
        Numbers of experts.
    inputs
        Width of the input.
    layers
        Widths of the experts' layers.
    dropout
        Share of hidden units dropped in training.
    """

    visible: Tensor

    def __init__(
        self, tasks: Sequence[str], counts: ExpertCounts, inputs: int, layers: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.experts = plain_experts(counts.total, inputs, layers, dropout)
        self.gates = Gates(tasks, counts.specific + counts.shared, inputs)
        # Not persistent: it follows from the settings, so it need not be saved or sent.
        self.register_buffer("visible", counts.visible, persistent=False)

    def forward(self, of_experts: Tensor, of_tasks: Tensor) -> Extracted:
        """Compute the experts, and mix them for each task.

        Parameters
        ----------
        of_experts
            One input for all experts (B, D), or one for each expert (B, E, D).
        of_tasks
            One input for all gates (B, D), or one for each task's gate (B, T, D).
        """
        outputs = self.experts(of_experts).squeeze(1)  # (B, E, H)
        shares = self._spread(self.gates(of_tasks), outputs.shape[1])
        return Extracted(outputs, shares, shares @ outputs)

    def _spread(self, shares: Tensor, experts: int) -> Tensor:
        """Return shares of all experts (B, T, E) for shares of the visible ones (B, T, specific + shared)."""
        spread = shares.new_zeros(*shares.shape[:2], experts)
        return spread.scatter(2, self.visible.expand(shares.shape[0], -1, -1), shares)


def divide(layers: Sequence[int], levels: int) -> list[Sequence[int]]:
    """Divide layers over levels in order, as evenly as possible; the first levels get the remaining layers."""
    each, over = divmod(len(layers), levels)
    ends = [level * each + min(level, over) for level in range(levels + 1)]
    return [layers[start:end] for start, end in itertools.pairwise(ends)]
