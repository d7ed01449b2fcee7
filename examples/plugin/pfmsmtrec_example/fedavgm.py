"""Federated averaging with momentum at the server (FedAvgM: Hsu, Qi and Brown, arXiv 1909.06335, 2019).

With w the common parameters and m the mean of the scenarios' parameters after training, a round computes
``v <- β v + (m - w)`` and ``w <- w + v``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.config import Fraction, MethodSettings, RunConfig
from pfmsmtrec_flwr.federation.protocol import Stage, Tensors
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.training.records import RoundCallback


class FedAvgMSettings(MethodSettings):
    """Settings of FedAvgM."""

    beta: Fraction = 0.9
    """Momentum β: share of the last step that is made again."""


class FedAvgM(FedAvg):
    """The server of FedAvgM; statistics of normalization have no momentum, as a variance must not fall below zero."""

    remembers = ("velocity",)

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        super().__init__(config, on_round=on_round)
        self.beta = config.own(FedAvgMSettings).beta
        self.velocity: Tensors = {}

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        """Average the parameters, and go on in the direction of the last steps."""
        before = dict(self.parameters.common)
        super().aggregate(stage, updates)
        learned = {slot.name for update in updates for slot in update.slots.values() if not slot.statistic}
        for name in self.parameters.common.keys() & learned:
            step = self.parameters.common[name] - before[name]
            self.velocity[name] = self.beta * self.velocity[name] + step if name in self.velocity else step
            self.parameters.common[name] = before[name] + self.velocity[name]


METHOD = FederatedMethod(
    name="fedavgm",
    summary="federated averaging with momentum at the server",
    source="Hsu et al., arXiv 1909.06335, 2019",
    strategy=FedAvgM,
    parameters="global",
    settings=FedAvgMSettings,
    space={"beta": (0.0, 0.5, 0.9)},
)
