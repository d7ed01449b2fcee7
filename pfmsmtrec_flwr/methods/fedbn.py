"""Federated averaging with local batch normalization.

FedBN (Li et al., ICLR 2021, algorithm 1) is FedAvg without the layers of batch normalization: their parameters and
statistics stay in the scenario. Embedding tables follow the common settings, as in every method but `fedavg`.
"""

from __future__ import annotations

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.sharing import Sharing
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.model import Part


class FedBN(FedAvg):
    """The server of FedBN: FedAvg without normalization, which stays in its scenario with its statistics."""

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:
        """Share what FedAvg shares, without normalization."""
        return super().sharing_of(config).without(Part.NORMALIZATION, Part.TOWER_NORMALIZATION)


METHOD = FederatedMethod(
    name="fedbn",
    summary="federated averaging with batch normalization kept local",
    source="Li et al., ICLR 2021, algorithm 1",
    strategy=FedBN,
    parameters="personalised",
)
