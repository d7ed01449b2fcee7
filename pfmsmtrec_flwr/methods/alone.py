"""Every scenario trains alone; sharing has to beat this."""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.protocol import Stage
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import Sharing
from pfmsmtrec_flwr.methods.base import FederatedMethod


class Alone(ScenarioStrategy):
    """The server of `alone`: only figures travel; everything else is as in the other methods."""

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:  # noqa: ARG003
        """Share nothing."""
        return Sharing()

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        """Leave all parameters as they are."""


METHOD = FederatedMethod(
    name="alone",
    summary="each scenario trains its own model, nothing is shared",
    source="baseline",
    family="alone",
    strategy=Alone,
    parameters="personalised",
)
