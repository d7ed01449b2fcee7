"""Star topology: each scenario's weights are the shared ones times its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.dropout import dropout
from pfmsmtrec_flwr.model.parts import TOWER_PARTS, Part
from pfmsmtrec_flwr.model.scenarios import order_by_scenario, require_scenarios, scenario_columns
from pfmsmtrec_flwr.model.towers import Tower


class STAR(ScenarioModel):
    """Embeddings, partitioned normalization, star-topology bottom and towers, and the auxiliary network.

    The scenario's embedding is an input of the auxiliary network alone: within a scenario it is a constant, of which
    partitioned normalization leaves nothing.

    References
    ----------
    Sheng et al., "One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR Prediction", CIKM
    2021, sections 3.2 to 3.4; a tower per task, and a logit per task of the auxiliary network, are added here.

    Raises
    ------
    UserError
        The rows are of a single scenario.
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
        """The auxiliary network, which has an output for each task."""
        return TOWER_PARTS

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T).

        Raises
        ------
        ValueError
            A row's scenario is not one of the specification's.
        """
        x = self.embed(categorical, numeric)  # (B, D)
        rows = order_by_scenario(categorical, self.spec.scenarios)
        features = torch.cat([x[:, : self._indicator.start], x[:, self._indicator.stop :]], dim=1)
        hidden = self.bottom(self.norm(features[rows.order], rows.counts), rows.counts)
        logits: Tensor = self.auxiliary(x) + rows.restore(self.towers(hidden, rows.counts))
        return logits


class PartitionedNorm(nn.Module):
    """Normalization with each scenario's statistics: ``(γ γ_s) (z - μ_s) / sqrt(σ_s² + ε) + (β + β_s)``.

    A scenario with a single row in a training batch, which has no variance, is normalised with its running statistics,
    and leaves them as they are.

    Parameters
    ----------
    scenarios
        S.
    width
        D, of the input.
    """

    def __init__(self, scenarios: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.weight_scenario = nn.Parameter(torch.ones(scenarios, width))
        self.bias_scenario = nn.Parameter(torch.zeros(scenarios, width))
        self.of_scenario = nn.ModuleList(nn.BatchNorm1d(width, affine=False) for _ in range(scenarios))

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Normalise the rows ``x`` (B, D), of which the first scenario has the first ``counts[0]``, and so on."""
        parts = [
            _normalise(norm, part) if len(part) else part
            for norm, part in zip(self.of_scenario, torch.split(x, list(counts)), strict=True)
        ]
        weight, bias = self.weight * self.weight_scenario, self.bias + self.bias_scenario  # (S, D)
        return torch.cat([torch.addcmul(b, part, w) for part, w, b in zip(parts, weight, bias, strict=True)])


def _normalise(norm: nn.Module, rows: Tensor) -> Tensor:
    if norm.training and len(rows) == 1:
        return functional.batch_norm(rows, norm.get_buffer("running_mean"), norm.get_buffer("running_var"))
    normalised: Tensor = norm(rows)
    return normalised


class StarLinear(nn.Module):
    """A linear layer for each scenario: ``W_s = W * W'_s`` element by element, ``b_s = b + b'_s``.

    Parameters
    ----------
    scenarios
        S.
    inputs, outputs
        Width of the layer's input I and output O.
    """

    def __init__(self, scenarios: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.weight_scenario = nn.Parameter(torch.empty(scenarios, inputs, outputs))
        self.bias_scenario = nn.Parameter(torch.empty(scenarios, outputs))

    def initialise(self, generator: Callable[[str], torch.Generator]) -> None:
        """He initialisation of the shared weight; the scenarios' own start neutral, biases at zero.

        Parameters
        ----------
        generator
            Gives the random generator of a parameter by its name in this module.
        """
        with torch.no_grad():
            self.weight.normal_(0.0, math.sqrt(2.0 / len(self.weight)), generator=generator("weight"))
            self.weight_scenario.fill_(1.0)
            self.bias.zero_()
            self.bias_scenario.zero_()

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return (B, O) for ``x`` (B, I), of which the first scenario has the first ``counts[0]`` rows, and so on."""
        weight = self.weight * self.weight_scenario  # (S, I, O)
        bias = self.bias + self.bias_scenario  # (S, O)
        parts = zip(torch.split(x, list(counts)), weight, bias, strict=True)
        return torch.cat([torch.addmm(b, part, w) for part, w, b in parts])


class StarLayers(nn.Module):
    """Hidden layers: star-topology linear, batch normalization over all rows, ReLU, dropout."""

    def __init__(self, scenarios: int, inputs: int, layers: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [inputs, *layers]
        self.layers = nn.ModuleList(
            StarLinear(scenarios, before, after) for before, after in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in layers)

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return (B, H) for ``x`` (B, I), its rows in the order of the scenarios."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = dropout(norm(layer(x, counts)).relu(), self.dropout, self.training)
        return x


class StarTower(nn.Module):
    """Hidden layers and a linear one to the logit, all of star topology."""

    def __init__(self, scenarios: int, inputs: int, layers: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.hidden = StarLayers(scenarios, inputs, layers, dropout)
        self.output = StarLinear(scenarios, [inputs, *layers][-1], 1)

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the logit (B, 1) of ``x`` (B, H), its rows in the order of the scenarios."""
        logit: Tensor = self.output(self.hidden(x, counts), counts)
        return logit


class StarTowers(nn.Module):
    """One tower per task, under the task's name."""

    def __init__(
        self, tasks: Sequence[str], scenarios: int, inputs: int, layers: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.of_task = nn.ModuleDict({task: StarTower(scenarios, inputs, layers, dropout) for task in tasks})

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the logits (B, T) of ``x`` (B, H), its rows in the order of the scenarios."""
        return torch.cat([tower(x, counts) for tower in self.of_task.values()], dim=1)


class AuxiliaryNetwork(Tower):
    """What the scenario itself says, seen with the other features: added to the logits of the tasks."""

    def __init__(self, inputs: int, layers: Sequence[int], dropout: float, tasks: int) -> None:
        super().__init__(inputs, layers, dropout, outputs=tasks)
