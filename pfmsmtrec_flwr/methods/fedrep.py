"""A shared representation: each scenario fits its head to it, then moves the representation under that head."""

from __future__ import annotations

from pfmsmtrec_flwr.federation.client.client import Fitted, ScenarioClient
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Tensors
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedper import FedPer
from pfmsmtrec_flwr.model import HEAD_PARTS
from pfmsmtrec_flwr.training.local import local_steps, trained_only


class FedRepClient(ScenarioClient):
    """Trains in two phases, each on batches drawn by a seed of its own.

    The head, the towers, is fitted on the body as received for ``baselines.head_epochs`` passes; then the body, with
    the private embeddings, for ``train.local_epochs`` passes under the head as fitted. What is frozen still normalises
    by the batch, so its running statistics move; its parameters do not.
    """

    def fit(self, order: Order, incoming: Incoming, saved: Tensors) -> Fitted:  # noqa: ARG002 - nothing pulls
        """Fit the head, then the body; the report is of the body, which is what travels."""
        head = names_of(self.slots, HEAD_PARTS)
        remembered = self._fit_head(head, order, saved)
        with trained_only(self.model, self.slots.keys() - head):
            body = self.fit_model(self.model, order, (), saved)
        return Fitted(body.report, remembered | body.remembered)

    def _fit_head(self, head: list[str], order: Order, saved: Tensors) -> Tensors:
        epochs = self.config.baselines.head_epochs
        if not epochs:
            return {}
        steps = local_steps(len(self.train_rows), self.config.train.model_copy(update={"local_epochs": epochs}))
        with trained_only(self.model, head):
            return self.fit_model(
                self.model, order, (), saved, prefix="head/", purpose="train head", steps=steps
            ).remembered


METHOD = FederatedMethod(
    name="fedrep",
    summary="a shared representation, local heads fitted to it before it moves on",
    source="Collins et al., ICML 2021, algorithm 1",
    strategy=FedPer,
    client=FedRepClient,
    parameters="personalised",
    space={"baselines.head_epochs": (0.5, 1.0, 2.0)},
)
