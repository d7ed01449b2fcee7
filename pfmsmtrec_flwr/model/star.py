"""Star topology: the weights of each scenario are the shared weights times its own.

Examples
--------
Two scenarios scale the shared weight of 1 by 1 + 1 and by 1 + 2.

>>> import torch
>>> from pfmsmtrec_flwr.model.star import StarLinear
>>> layer = StarLinear(scenarios=2, inputs=1, outputs=1)
>>> _ = layer.load_state_dict({
...     "weight": torch.ones(1, 1),
...     "bias": torch.zeros(1),
...     "weight_scenario": torch.tensor([1.0, 2.0]).view(2, 1, 1),
...     "bias_scenario": torch.zeros(2, 1),
... })
>>> layer(torch.ones(3, 1), counts=[1, 2]).flatten().tolist()  # one row of the first scenario, two of the second
[2.0, 3.0, 3.0]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec
from pfmsmtrec_flwr.model.by_task import ModulesByTask
from pfmsmtrec_flwr.model.dropout import dropout
from pfmsmtrec_flwr.model.normalization import FewRowsNorm
from pfmsmtrec_flwr.model.parts import TOWER_PARTS, Part
from pfmsmtrec_flwr.model.scenarios import ScenarioOrder, SortingModel, require_scenarios, scenario_columns
from pfmsmtrec_flwr.model.towers import Tower


class STAR(SortingModel):
    """Embeddings, partitioned normalization, star-topology bottom and towers, and the auxiliary network.

    The scenario's embedding is an input of the auxiliary network alone, without dropout. It is constant within a
    scenario, and partitioned normalization would remove it.

    References
    ----------
    Sheng et al., "One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR Prediction", CIKM
    2021, sections 3.2 to 3.4. A tower per task, and a logit per task of the auxiliary network, are added here. Hidden
    layers have normalization per scenario, as in the public code of Scenario-Wise-Rec.

    Raises
    ------
    UserError
        The rows come from a single scenario.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings) -> None:
        require_scenarios(spec, "star")
        super().__init__(spec, settings)
        self._indicator = scenario_columns(spec, settings.embedding_dim)
        width = self.inputs - settings.embedding_dim
        hidden = settings.expert_layers[-1]
        self.norm = PartitionedNorm(spec.scenarios, width)
        self.bottom = StarLayers(spec.scenarios, width, settings.expert_layers, settings.dropout)
        self.towers = StarTowers(spec.tasks, spec.scenarios, hidden, settings.tower_layers, settings.dropout)
        self.auxiliary = AuxiliaryNetwork(self.inputs, settings.tower_layers, settings.dropout, len(spec.tasks))

    @classmethod
    def by_task(cls, settings: ModelSettings) -> frozenset[Part]:  # noqa: ARG003
        """Return the parts of the auxiliary network, which has an output for each task."""
        return TOWER_PARTS

    def logits(self, rows: ScenarioOrder, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T) of a batch whose order by scenario is known."""
        x = self.embed(categorical, numeric, kept=self._indicator)  # (B, D)
        features = torch.cat([x[:, : self._indicator.start], x[:, self._indicator.stop :]], dim=1)
        hidden = self.bottom(self.norm(features[rows.order], rows.counts), rows.counts)
        logits: Tensor = self.auxiliary(x) + rows.restore(self.towers(hidden, rows.counts))
        return logits


class PartitionedNorm(nn.Module):
    """Normalization with the statistics of each scenario: ``γ (1 + γ_s) (z - μ_s) / sqrt(σ_s² + ε) + (β + β_s)``.

    The paper's factor of a scenario is 1 + γ_s here: weight decay then pulls it to one instead of zero.

    Parameters
    ----------
    scenarios
        Number of scenarios S.
    width
        Width D of the input.
    """

    def __init__(self, scenarios: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.weight_scenario = nn.Parameter(torch.zeros(scenarios, width))
        self.bias_scenario = nn.Parameter(torch.zeros(scenarios, width))
        self.of_scenario = nn.ModuleList(FewRowsNorm(width, affine=False) for _ in range(scenarios))

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Normalise the rows ``x`` (B, D): the first ``counts[0]`` belong to the first scenario, and so on."""
        parts = [norm(part) for norm, part in zip(self.of_scenario, torch.split(x, list(counts)), strict=True)]
        weight, bias = self.weight * (1 + self.weight_scenario), self.bias + self.bias_scenario  # (S, D)
        return torch.cat([torch.addcmul(b, part, w) for part, w, b in zip(parts, weight, bias, strict=True)])


class StarLinear(nn.Module):
    """A linear layer for each scenario: ``W_s = W * (1 + V_s)`` element by element, ``b_s = b + b'_s``.

    The paper's factor of a scenario is 1 + V_s here: weight decay then pulls it to one instead of zero.

    Parameters
    ----------
    scenarios
        Number of scenarios S.
    inputs, outputs
        Widths of the layer's input I and output O.
    """

    def __init__(self, scenarios: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.weight_scenario = nn.Parameter(torch.empty(scenarios, inputs, outputs))
        self.bias_scenario = nn.Parameter(torch.empty(scenarios, outputs))

    def initialise(self, generator: Callable[[str], torch.Generator]) -> None:
        """Draw the shared weight by He initialisation; set all else to zero, so that scenarios start alike.

        Parameters
        ----------
        generator
            Function that returns the random generator of a parameter by its name in this module.
        """
        with torch.no_grad():
            self.weight.normal_(0.0, math.sqrt(2.0 / len(self.weight)), generator=generator("weight"))
            self.weight_scenario.zero_()
            self.bias.zero_()
            self.bias_scenario.zero_()

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return (B, O) for ``x`` (B, I): the first ``counts[0]`` rows belong to the first scenario, and so on."""
        weight = self.weight * (1 + self.weight_scenario)  # (S, I, O)
        bias = self.bias + self.bias_scenario  # (S, O)
        parts = zip(torch.split(x, list(counts)), weight, bias, strict=True)
        return torch.cat([torch.addmm(b, part, w) for part, w, b in parts])


class StarLayers(nn.Module):
    """Hidden layers of star topology: linear, partitioned normalization, ReLU, dropout."""

    def __init__(self, scenarios: int, inputs: int, layers: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [inputs, *layers]
        self.layers = nn.ModuleList(
            StarLinear(scenarios, before, after) for before, after in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(PartitionedNorm(scenarios, width) for width in layers)

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return (B, H) for ``x`` (B, I), whose rows are in the order of the scenarios."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = dropout(norm(layer(x, counts), counts).relu(), self.dropout, self.training)
        return x


class StarTower(nn.Module):
    """Hidden layers and a linear one to the logit, all of star topology."""

    def __init__(self, scenarios: int, inputs: int, layers: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.hidden = StarLayers(scenarios, inputs, layers, dropout)
        self.output = StarLinear(scenarios, [inputs, *layers][-1], 1)

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the logit (B, 1) of ``x`` (B, H), whose rows are in the order of the scenarios."""
        logit: Tensor = self.output(self.hidden(x, counts), counts)
        return logit


class StarTowers(nn.Module):
    """One tower per task, under the task's name."""

    def __init__(
        self, tasks: Sequence[str], scenarios: int, inputs: int, layers: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.of_task = ModulesByTask({task: StarTower(scenarios, inputs, layers, dropout) for task in tasks})

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the logits (B, T) of ``x`` (B, H), whose rows are in the order of the scenarios."""
        return torch.cat([tower(x, counts) for tower in self.of_task.values()], dim=1)


class AuxiliaryNetwork(Tower):
    """Network on the scenario's embedding and the other features; its outputs are added to the tasks' logits."""

    def __init__(self, inputs: int, layers: Sequence[int], dropout: float, tasks: int) -> None:
        super().__init__(inputs, layers, dropout, outputs=tasks)
