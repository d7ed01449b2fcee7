"""Multi-domain multi-task mixture of experts: shared experts, one for each scenario and one for each task.

Examples
--------
The last categorical column is the number of the row's scenario, 1 or 2.

>>> import torch
>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> fields = (FieldSpec("item", rows=7, federated=True), FieldSpec("scenario", rows=3, federated=False))
>>> spec = ModelSpec(fields, numeric=1, tasks=("ctr", "ctcvr"), scenarios=2)
>>> model = build_model(spec, ModelSettings(architecture="m3oe", initial_balance=0.8), seed=0)
>>> categorical, numeric = torch.tensor([[2, 1], [4, 2], [6, 1]], dtype=torch.int32), torch.zeros(3, 1)
>>> model(categorical, numeric).shape  # (B, T)
torch.Size([3, 2])

The scenarios' experts weigh 0.8 together, of which each scenario's own has a share of 0.8.

>>> [[round(weight, 2) for weight in row] for row in model.scenario_balance().tolist()]
[[0.64, 0.16], [0.16, 0.64]]
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec
from pfmsmtrec_flwr.model.experts import plain_experts
from pfmsmtrec_flwr.model.gates import Gates
from pfmsmtrec_flwr.model.normalization import FewRowsNorm
from pfmsmtrec_flwr.model.parts import Part
from pfmsmtrec_flwr.model.scenarios import (
    ScenarioOrder,
    SortingModel,
    order_by_scenario,
    require_scenarios,
    scenario_columns,
)
from pfmsmtrec_flwr.model.star import StarLinear
from pfmsmtrec_flwr.model.towers import Towers, hidden_layers


class M3oE(SortingModel):
    """Embeddings, a representation by scenario, three groups of experts, a gate and a tower per scenario and task.

    A row of scenario s has for task t the sum of three mixtures: the shared experts by the gate of s and t, the
    scenarios' experts with s's own foremost, and the tasks' experts with t's own foremost. The weights of the last two
    are learned with all other parameters, see `ExpertBalance`. Gates read the representation without training it.

    References
    ----------
    Zhang et al., "M3oE: Multi-Domain Multi-Task Mixture-of-Experts Recommendation Framework", SIGIR 2024, and the
    authors' code (Applied-Machine-Learning-Lab/M3oE). Batch normalization takes the place of layer normalization, and
    gates have no bias, as in every architecture of this package; `StarLinear` has its factors around one.

    Raises
    ------
    UserError
        The rows come from a single scenario.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        require_scenarios(spec, "m3oe")
        super().__init__(spec, settings)
        width, layers = settings.expert_layers[0], settings.expert_layers
        self._indicator = scenario_columns(spec, settings.embedding_dim)
        self._groups = [settings.experts, spec.scenarios, len(spec.tasks)]
        self.representation = DomainRepresentation(spec.scenarios, self.inputs, width, settings.dropout)
        self.experts = plain_experts(sum(self._groups), width, layers, settings.dropout)
        self.scenario_balance = ExpertBalance(spec.scenarios, settings.initial_balance)
        self.task_balance = ExpertBalance(len(spec.tasks), settings.initial_balance)
        self.gates = nn.ModuleList(Gates(spec.tasks, settings.experts, width) for _ in range(spec.scenarios))
        self.towers = nn.ModuleList(
            Towers(spec.tasks, layers[-1], settings.tower_layers, settings.dropout, FewRowsNorm)
            for _ in range(spec.scenarios)
        )

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:  # noqa: ARG003
        """Return the parts of the experts, of which each task has one."""
        return frozenset({Part.EXPERT, Part.NORMALIZATION})

    def logits(self, rows: ScenarioOrder, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T) of a batch whose order by scenario is known."""
        z = self._represent(categorical, numeric, rows)  # (B, W)
        outputs = self.experts(z).squeeze(1)  # (B, shared + S + T, H)
        shared, of_scenarios, of_tasks = outputs.split(self._groups, dim=1)
        scenario = categorical[rows.order, -1].long() - 1  # (B,)
        mixed = (
            _by_scenario(self.gates, z.detach(), rows.counts) @ shared
            + self.scenario_balance()[scenario].unsqueeze(1) @ of_scenarios
            + self.task_balance() @ of_tasks
        )  # (B, T, H)
        return rows.restore(_by_scenario(self.towers, mixed, rows.counts))

    def expert_shares(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the outputs of the gates, over the shared experts alone (B, T, E)."""
        rows = order_by_scenario(categorical, self.spec.scenarios)
        return rows.restore(_by_scenario(self.gates, self._represent(categorical, numeric, rows), rows.counts))

    def _represent(self, categorical: Tensor, numeric: Tensor, rows: ScenarioOrder) -> Tensor:
        """Return the representation (B, W) of the rows, in the order of the scenarios."""
        x = self.embed(categorical, numeric, kept=self._indicator)  # (B, D)
        represented: Tensor = self.representation(x[rows.order], rows.counts)
        return represented


class DomainRepresentation(nn.Module):
    """A layer of star topology and one on its outputs, beside one that skips both; their sum is the representation.

    Parameters
    ----------
    scenarios
        Number of scenarios.
    inputs, width
        Widths of the input D and of the representation W.
    dropout
        Share of hidden units dropped in training.
    """

    def __init__(self, scenarios: int, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.star = StarLinear(scenarios, inputs, width)
        self.fusion = nn.Sequential(*hidden_layers(width, [width], dropout))
        self.skip = nn.Sequential(*hidden_layers(inputs, [width], dropout))

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return (B, W) for ``x`` (B, D), whose rows are in the order of the scenarios."""
        represented: Tensor = self.fusion(self.star(x, counts)) + self.skip(x)
        return represented


class ExpertBalance(nn.Module):
    """Learned weights of n experts, of which each of n scenarios or tasks has one.

    The experts weigh ω in sum. Of this a scenario's or task's own expert has the share δ, and the others have equal
    shares of the rest. ω and δ are sigmoids of the parameters.

    Parameters
    ----------
    count
        Number n of experts; a single one weighs ω δ.
    initial
        Initial value of ω and δ, between 0 and 1.
    """

    def __init__(self, count: int, initial: float) -> None:
        super().__init__()
        self._count = count
        self.weight = nn.Parameter(torch.tensor(math.log(initial / (1 - initial))))
        self.own = nn.Parameter(torch.tensor(math.log(initial / (1 - initial))))

    def forward(self) -> Tensor:
        """Return the weights of the experts, in the columns, for each scenario or task, in the rows (n, n)."""
        own = self.own.sigmoid()
        same = torch.eye(self._count, device=own.device)
        return self.weight.sigmoid() * (own * same + (1 - own) / max(1, self._count - 1) * (1 - same))


def _by_scenario(modules: Iterable[nn.Module], x: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the outputs (B, ...) of each scenario's module for its rows of ``x``; some scenarios may have no rows."""
    parts = zip(modules, torch.split(x, list(counts)), strict=True)
    return torch.cat([module(part) for module, part in parts if part.shape[0]])
