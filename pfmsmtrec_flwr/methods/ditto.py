"""A personal model beside the global model, pulled to it.

Ditto (Li et al., ICML 2021, section 3.2, algorithm 1; code litian96/ditto) trains the global model w as FedAvg does. A
personal model v minimises ``F_k(v) + λ / 2 * ||v - w^t||^2``, with w^t as received, by SGD on the sum:
``v <- v - lr * (gradient + λ * (v - w^t))``. Here, under Adam and Adagrad, the pull takes a step of its own after
theirs (`training.objective.pull_to_anchors`), as inside them its weight would not be λ. The published server draws some
of the clients in each round and takes the plain mean of their updates. Here all report, and count by their rows, as in
every other method.
"""

from __future__ import annotations

from dataclasses import replace

from pfmsmtrec_flwr.config import MethodSettings, NotNegative, RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.trainer import Fitted
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.methods.base import FederatedMethod, Range
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.training.local import Anchor

_PERSONAL = "personal"


class DittoSettings(MethodSettings):
    """Settings of Ditto."""

    lam: NotNegative = 10.0
    """Weight λ of the pull of a personal model to the global model that was received; steps are as FedProx's."""


class Ditto(FedAvg):
    """FedAvg's server: it never sees a personal model."""

    @property
    def has_consensus(self) -> bool:
        """True, because the models that predict are not the global one."""
        return True


class DittoClient(ScenarioClient):
    """Trains the global model w as FedAvg does and, on the same batches, a personal model v, which predicts.

    v minimises ``F_k(v) + λ / 2 * ||v - w^t||^2``, where w^t is the model received with the round. v stays on the
    scenario's disk. Private embeddings of v are free, as no value of w is received for them.

    Attributes
    ----------
    personal
        Personal model v.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(DittoSettings)
        self.personal = self.make_model()

    @property
    def predictor(self) -> ScenarioModel:
        """The personal model."""
        return self.personal

    def restore_predictor(self, memory: ClientMemory) -> None:
        """Restore v; before the first training it is the global model, with the scenario's own base rates."""
        self.restore(self.personal, memory, _PERSONAL)

    def fit(self, order: Order, incoming: Incoming, memory: ClientMemory) -> Fitted:
        """Train both models; the report covers the global one, which travels."""
        travelling = super().fit(order, incoming, memory)
        pull = Anchor(self.received(incoming), self.settings.lam)
        personal = self.trainer.fit(self.personal, order, [pull], memory.scope(_PERSONAL))
        kept = replace(personal.memory, model=self.personal.state_dict())
        return Fitted(travelling.report, travelling.memory.with_scope(_PERSONAL, kept))


METHOD = FederatedMethod(
    name="ditto",
    summary="a personal model per scenario, pulled to the averaged global one",
    source="Li et al., ICML 2021, algorithm 1",
    strategy=Ditto,
    client=DittoClient,
    parameters="personalised",
    settings=DittoSettings,
    space={"lam": Range(1.0, 100.0, log=True)},
)
