"""Federated averaging with a proximal term that pulls each scenario to the received model."""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.protocol import Incoming
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.training.local import Anchor


class FedProxClient(ScenarioClient):
    """Minimises ``F_k(w) + μ / 2 * ||w - w^t||^2``, where w^t is the model received with the round (equation 2)."""

    def anchors(self, incoming: Incoming) -> Sequence[Anchor]:
        """Pull every parameter to its received value; private parameters have none, and are free."""
        return [Anchor(self.received(incoming), self.config.baselines.proximal_weight)]


METHOD = FederatedMethod(
    name="fedprox",
    summary="federated averaging with a proximal term in the local objective",
    source="Li et al., MLSys 2020, algorithm 2, equation 2",
    strategy=FedAvg,
    client=FedProxClient,
    parameters="global",
    space={"baselines.proximal_weight": (0.001, 0.01, 0.1, 1.0)},
)
