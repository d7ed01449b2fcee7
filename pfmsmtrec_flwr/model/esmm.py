"""Tasks as steps of one path, where the positives of a task are among those of the task before.

Examples
--------
A step with probability 0.5 after one with probability 0.4 has the probability 0.2.

>>> import torch
>>> from pfmsmtrec_flwr.model.esmm import product_logits
>>> steps = torch.tensor([[0.4, 0.5]]).logit()  # (B, T)
>>> [round(value, 3) for value in product_logits(steps).sigmoid().flatten().tolist()]
[0.4, 0.2]
"""

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

    ``p_t = prod_{j <= t} sigmoid(x_j)``, where x_j is the output of task j's tower: the logit of the step from task
    j - 1 to task j. The path follows the order of the tasks in the specification, such as click, then purchase.

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
        """Return the parts of the bottoms, of which each task has one."""
        return frozenset({Part.EXPERT, Part.NORMALIZATION})

    @classmethod
    def rows_of_towers(cls, positives: Sequence[int], rows: Sequence[int]) -> list[int]:
        """Return the number of rows that took the step before: the positives of the task before.

        Where fewer rows have a label of a task than of the task before, their share of its positives is expected.
        """
        shares = zip(positives, rows, rows[1:], strict=False)
        before = [*rows[:1], *(passed * min(own, all_) // max(all_, 1) for passed, all_, own in shares)]
        return [max(passed, own) for passed, own in zip(before, positives, strict=True)]

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T) of the products."""
        x = self.embed(categorical, numeric)  # (B, D)
        steps = self.towers(self.bottoms(x, fixed=self.fixed_columns(numeric)).squeeze(1))
        return product_logits(steps)


def product_logits(steps: Tensor) -> Tensor:
    """Return the logits of ``prod_{j <= t} sigmoid(steps[:, j])``, (B, T), for ``steps`` (B, T).

    For two factors with the logits a and b, ``1 / p - 1 = exp(-a) + exp(-b) + exp(-a - b)``, whose logarithm is the
    negative logit of p. It and its gradient are finite wherever a and b are.
    """
    logits = [steps[:, 0]]
    for step in steps.unbind(dim=1)[1:]:
        before = logits[-1]
        logits.append(-torch.stack([-before, -step, -before - step]).logsumexp(dim=0))
    return torch.stack(logits, dim=1)
