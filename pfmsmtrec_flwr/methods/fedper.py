"""Federated averaging of the model's body; the towers are personalization layers.

FedPer (Arivazhagan et al., arXiv 1912.00818, algorithms 1 and 2) trains base and personalization layers together, and
averages the base layers, by rows. The personalization layers are the last ones: here the towers, with their
normalization. The base keeps its normalization averaged, statistics included, as its other layers.
"""

from __future__ import annotations

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.sharing import Sharing
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.model import HEAD_PARTS


class FedPer(FedAvg):
    """The server of FedPer: FedAvg of embeddings, experts, gates and their normalization; the head stays local."""

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:
        """Share what FedAvg shares, without the head."""
        return super().sharing_of(config).without(*HEAD_PARTS)


METHOD = FederatedMethod(
    name="fedper",
    summary="federated averaging with the task towers kept local",
    source="Arivazhagan et al., arXiv 1912.00818, algorithms 1 and 2",
    strategy=FedPer,
    parameters="personalised",
)
