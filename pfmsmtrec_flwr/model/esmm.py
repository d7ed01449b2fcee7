"""Tasks as steps of one path: a task's positives are among those of the task before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.towers import Towers


class ESMM(ScenarioModel):
    """Shared embeddings, a bottom and a tower per task; a task's probability is the product along the path.

    ``p_t = prod_{j <= t} sigmoid(x_j)``, x_j the output of task j's tower, that is the logit of the step from task
    j - 1 to task j. The tasks are in the order of the specification, such as click, then purchase after a click.

    References
    ----------
    Ma et al., "Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click Conversion Rate", SIGIR
    2018, section 2.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        super().__init__(spec, settings)
        self.bottoms = plain_experts(len(spec.tasks), self.inputs, settings.expert_layers, settings.dropout)
        self.towers = Towers(spec.tasks, settings.expert_layers[-1], settings.tower_layers, settings.dropout)

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:  # noqa: ARG003
        """The bottoms, one for each task."""
        return frozenset({Part.EXPERT_SCENARIO, Part.NORMALIZATION})

    @classmethod
    def rows_of_towers(cls, positives: Sequence[int], rows: Sequence[int]) -> list[int]:
        """The rows that took the step before: the positives of the task before."""
        before = [*rows[:1], *positives[:-1]]
        return [max(passed, own) for passed, own in zip(before, positives, strict=True)]

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits of the products (B, T)."""
        steps = self.towers(self.bottoms(self.embed(categorical, numeric)).squeeze(1))
        return product_logits(steps)


def product_logits(steps: Tensor) -> Tensor:
    """Return the logits of ``prod_{j <= t} sigmoid(steps[:, j])``, (B, T), for ``steps`` (B, T).

    For two factors with the logits a and b, ``1 / p - 1 = exp(-a) + exp(-b) + exp(-a - b)``, whose logarithm is minus
    the logit of p. It is finite, and so is its gradient, wherever a and b are.
    """
    logits = [steps[:, 0]]
    for step in steps.unbind(dim=1)[1:]:
        before = logits[-1]
        logits.append(-torch.stack([-before, -step, -before - step]).logsumexp(dim=0))
    return torch.stack(logits, dim=1)
