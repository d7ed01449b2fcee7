"""A personal model beside the global one, held near to it."""

from __future__ import annotations

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import Fitted, ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Tensors
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.training.local import Anchor

_PERSONAL = "personal/"


class Ditto(FedAvg):
    """FedAvg's server: it never sees a personal model."""

    @property
    def has_consensus(self) -> bool:
        """The global model is another one than those that predict."""
        return True


class DittoClient(ScenarioClient):
    """Trains the global model w as FedAvg does, and on the same batches its own v, which predicts.

    v minimises ``F_k(v) + lambda / 2 * ||v - w^t||^2``, w^t the model received with the round. It stays on the
    scenario's disk. Where w has no received value, in private embeddings, v is free.

    Attributes
    ----------
    personal
        v.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.personal = self.make_model()

    @property
    def predictor(self) -> ScenarioModel:
        """The personal model."""
        return self.personal

    def recall(self, saved: Tensors) -> None:
        """Bring v back; before the first training it is the global model, at the scenario's own base rates."""
        self.restore(self.personal, saved, _PERSONAL)

    def fit(self, order: Order, incoming: Incoming, saved: Tensors) -> Fitted:
        """Train both; the report is of the global model, which is what travels."""
        travelling = super().fit(order, incoming, saved)
        pull = Anchor(self.received(incoming), self.config.baselines.proximal_weight)
        own = self.fit_model(self.personal, order, [pull], saved, prefix=_PERSONAL)
        kept = {f"{_PERSONAL}{name}": value for name, value in self.personal.state_dict().items()}
        return Fitted(travelling.report, travelling.remembered | own.remembered | kept)


METHOD = FederatedMethod(
    name="ditto",
    summary="a personal model per scenario, pulled to the averaged global one",
    source="Li et al., ICML 2021, algorithm 1",
    strategy=Ditto,
    client=DittoClient,
    parameters="personalised",
    space={"baselines.proximal_weight": (0.001, 0.01, 0.1, 1.0)},
)
