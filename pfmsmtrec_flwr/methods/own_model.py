"""Clients that go on with their own model and are pulled to what they receive."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.trainer import Fitted
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.training.local import Anchor

_OWN = "own"


class OwnModelClient(ScenarioClient):
    """A scenario whose received values are targets: its own model w_k stays on its disk, trains on, and predicts.

    A subclass names the weight of the pull, and the received values that are targets (all of them, if it does not say).
    """

    @property
    @abstractmethod
    def pull(self) -> float:
        """Weight of the pull of w_k to the targets."""

    def targets(self, incoming: Incoming) -> Incoming:
        """Return the received values that w_k is pulled to; it takes the others over."""
        return incoming

    def restore_predictor(self, memory: ClientMemory) -> None:
        """Replace the targets by w_k as the last exchange left it; before the first training both are the same."""
        self.restore(self.model, memory, _OWN)

    def anchors(self, incoming: Incoming) -> Sequence[Anchor]:
        """Pull the parameters of w_k to their targets."""
        return [Anchor(self.received(self.targets(incoming)), self.pull)]

    def fit(self, order: Order, incoming: Incoming, memory: ClientMemory) -> Fitted:
        """Train w_k, and remember it, as the next message brings its targets."""
        fitted = super().fit(order, incoming, memory)
        targets = self.targets(incoming)
        names = targets.common | targets.personal.get(self.store.scenario, {})
        own = {name: value for name, value in self.model.state_dict().items() if name in names}
        return Fitted(fitted.report, fitted.memory.with_scope(_OWN, ClientMemory(model=own)))
