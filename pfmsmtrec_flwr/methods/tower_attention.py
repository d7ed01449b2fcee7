"""The attention between the scenarios' towers, kept layer by layer for the round's record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pfmsmtrec_flwr.training.records import Attention

LayerKey = tuple[str, int]
"""Task and layer of a tower."""

PAIRWISE_SCENARIOS = 16
"""Largest number of scenarios for which figures of pairs are logged."""


class TowerAttention:
    """Weights of the last attention of each tower layer."""

    def __init__(self) -> None:
        self._layers: dict[LayerKey, tuple[tuple[str, ...], Tensor]] = {}

    def keep(self, layer: LayerKey, scenarios: Sequence[str], weights: Tensor) -> None:
        """Keep the weights (K, K) of one layer in the place of earlier ones; none of more than 16 scenarios.

        Parameters
        ----------
        layer
            Task and layer.
        scenarios
            The K scenarios that have the task and reported.
        weights
            Weight of each scenario's update in each scenario's mixture.
        """
        self._layers.pop(layer, None)
        if len(scenarios) <= PAIRWISE_SCENARIOS:
            self._layers[layer] = tuple(scenarios), weights

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, for a checkpoint."""
        return {"layers": self._layers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._layers = dict(state["layers"])

    def by_task(self) -> dict[str, Attention]:
        """Return the mean weights over each task's layers, of tasks that have no more than 16 scenarios."""
        tasks: dict[str, list[Tensor]] = defaultdict(list)
        owners: dict[str, tuple[str, ...]] = {}
        for (task, _), (scenarios, weights) in sorted(self._layers.items(), key=lambda kept: kept[0]):
            owners[task] = scenarios
            tasks[task].append(weights)
        return {task: Attention(owners[task], torch.stack(own).mean(dim=0).tolist()) for task, own in tasks.items()}
