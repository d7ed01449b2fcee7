"""A shared representation: each scenario fits its head to it, then moves the representation under that head.

FedRep (Collins et al., ICML 2021, algorithm 1; the phases also as in TsingZ0/PFLlib, `clientrep.py`) has a scenario
take many steps of its head on the received representation, then few of the representation under the fitted head. The
server averages the representations. Here the head takes ``head_epochs`` passes, by default as many as the
representation, and representations count by their rows. The head is the towers; gates belong to the representation.
"""

from __future__ import annotations

from pfmsmtrec_flwr.config import MethodSettings, NotNegative, RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.trainer import Fitted
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedper import FedPer
from pfmsmtrec_flwr.model import HEAD_PARTS
from pfmsmtrec_flwr.training.local import local_steps, trained_only

_HEAD = "head"


class FedRepSettings(MethodSettings):
    """Settings of FedRep."""

    head_epochs: NotNegative = 1.0
    """Number of passes over the training rows in which the head is fitted before the body is."""


class FedRepClient(ScenarioClient):
    """Trains in two phases, each on batches drawn by a seed of its own.

    The head (the towers) is fitted on the received body for ``head_epochs`` passes. Then the body and the
    private embeddings are trained under the fitted head for ``train.local_epochs`` passes. Frozen layers still
    normalise by the batch: their running statistics move, their parameters do not.
    """

    moves_used_rows_alone = True

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(FedRepSettings)

    def fit(self, order: Order, incoming: Incoming, memory: ClientMemory) -> Fitted:  # noqa: ARG002 - nothing pulls
        """Fit the head, then the body; the report covers the body, which travels."""
        head = names_of(self.slots, HEAD_PARTS)
        head_memory = self._fit_head(head, order, memory.scope(_HEAD))
        with trained_only(self.model, self.slots.keys() - head):
            body = self.trainer.fit(self.model, order, (), memory)
        return Fitted(body.report, body.memory.with_scope(_HEAD, head_memory))

    def _fit_head(self, head: list[str], order: Order, memory: ClientMemory) -> ClientMemory:
        epochs = self.settings.head_epochs
        if not epochs:
            return ClientMemory()
        steps = local_steps(len(self.train_rows), self.config.train.model_copy(update={"local_epochs": epochs}))
        with trained_only(self.model, head):
            return self.trainer.fit(self.model, order, (), memory, purpose="train head", steps=steps).memory


METHOD = FederatedMethod(
    name="fedrep",
    summary="a shared representation, local heads fitted to it before it moves on",
    source="Collins et al., ICML 2021, algorithm 1",
    strategy=FedPer,
    client=FedRepClient,
    parameters="personalised",
    settings=FedRepSettings,
    space={"head_epochs": (0.5, 1.0, 2.0)},
)
