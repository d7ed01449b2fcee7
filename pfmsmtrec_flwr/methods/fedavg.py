"""Federated averaging of all parameters that may travel.

`fedavg` is FedAvg as published (McMahan et al., AISTATS 2017, algorithm 1): whole embedding tables are averaged, all of
batch normalization is, statistics included, and the averaged statistics are those that predict. `fedavg-rows` differs
in one thing: tables are averaged row by row over the scenarios that touched the row, as they are by default in every
other method here. Both keep what identifies people in its scenario, as all methods do.

The methods that build on this server, FedProx and Ditto among them, follow the common settings in both.
"""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.protocol import Stage
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import PRIVATE, Sharing
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.model import Part


class FedAvg(ScenarioStrategy):
    """The server of FedAvg: the mean of the scenarios' parameters, weighted by the rows that they trained on.

    Normalization is averaged too; only what identifies people stays. Embedding tables are averaged as the configuration
    says (``federation.tables``).
    """

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:  # noqa: ARG003
        """Share all parts but the private ones, as common."""
        return Sharing(common=frozenset(Part) - PRIVATE)

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:  # noqa: ARG002 - one stage only
        """Average what the scenarios sent."""
        self.average_common(updates)


_STATISTICS = {"train.reestimate_batch_norm": False}

METHODS = (
    FederatedMethod(
        name="fedavg",
        summary="one global model, the mean of all scenarios' parameters",
        source="McMahan et al., AISTATS 2017, algorithm 1",
        strategy=FedAvg,
        parameters="global",
        fixed={"federation.tables": "plain", **_STATISTICS},
    ),
    FederatedMethod(
        name="fedavg-rows",
        summary="fedavg with embedding tables averaged by touched row",
        source="McMahan et al., AISTATS 2017; tables as Ding et al., NeurIPS 2022",
        strategy=FedAvg,
        parameters="global",
        fixed={"federation.tables": "rows", **_STATISTICS},
    ),
)
