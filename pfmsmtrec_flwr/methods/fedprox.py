"""Federated averaging with a proximal term that pulls each scenario to the received model.

FedProx (Li et al., MLSys 2020, section 3.2, algorithm 2, equation 2) has scenario k minimise
``F_k(w) + μ / 2 * ||w - w^t||^2``, inexactly, by any local solver. The paper's is SGD on the sum, one step of which is
``w <- w - lr * gradient - lr * μ * (w - w^t)``. Here the local solver is Adam or Adagrad, and the proximal term takes a
step of its own after theirs (`training.objective.pull_to_anchors`): the last summand of the paper's step. Inside Adam
the term would be divided by the size of the loss's gradients, and stop the parameters that have small ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.config import MethodSettings, NotNegative, RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming
from pfmsmtrec_flwr.methods.base import FederatedMethod, Range
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.training.local import Anchor


class FedProxSettings(MethodSettings):
    """Settings of FedProx."""

    mu: NotNegative = 0.1
    """Proximal weight μ: a step of training ends lr * μ / (1 + lr * μ) of the way back to the received model."""


class FedProxClient(ScenarioClient):
    """Minimises ``F_k(w) + μ / 2 * ||w - w^t||^2``, where w^t is the model received with the round (equation 2)."""

    moves_used_rows_alone = True

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(FedProxSettings)

    def anchors(self, incoming: Incoming) -> Sequence[Anchor]:
        """Pull every parameter to its received value; private parameters have none, and are free."""
        return [Anchor(self.received(incoming), self.settings.mu)]


METHOD = FederatedMethod(
    name="fedprox",
    summary="federated averaging with a proximal term in the local objective",
    source="Li et al., MLSys 2020, algorithm 2, equation 2",
    strategy=FedAvg,
    client=FedProxClient,
    parameters="global",
    settings=FedProxSettings,
    space={"mu": Range(0.01, 10.0, log=True)},
)
