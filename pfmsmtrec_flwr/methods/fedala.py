"""Federated averaging with adaptive local aggregation of the higher layers before each local training.

FedALA (Zhang et al., AAAI 2023, section "Adaptive Local Aggregation"; code TsingZ0/FedALA and TsingZ0/PFLlib,
`utils/ALA.py`) averages models as FedAvg does. A scenario takes the lower layers of what it receives over. Each element
of the higher layers becomes ``local + (received - local) * weight``, where local is its value after the scenario's last
training. The weights in [0, 1] start at one, are learned by gradient descent on a share of the training rows, and are
kept from round to round. The first received model is taken over as it is. In the second round weights are learned pass
by pass until the losses of ten passes hardly differ, later for one pass. The aggregated model is the one that predicts,
and it trains on as a whole.

What differs: the sample of rows is drawn among the shuffled batches of a round, not as one window. The loss of a pass
is the mean of its batches, not that of the last. The number of passes is bounded. The statistics of batch normalization
are averaged with the model, as in FedAvg. The published rate η is 1 and the published higher layers are the last one;
both are to be tuned. By default η is 1000, since at 1 the small gradients here hardly move a weight from one, and the
higher layers are all but the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import pstdev
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from pfmsmtrec_flwr.aggregation.elements import aggregate_elements, learn_weights
from pfmsmtrec_flwr.config import MethodSettings, NotNegative, RunConfig
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.trainer import Fitted
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Tensors
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.model import HEAD_PARTS, Part, ScenarioModel
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.local import backward, local_steps, train_locally, trained_only

_HIGHER = {
    "towers": HEAD_PARTS,
    "experts": frozenset(Part) - {Part.LOCAL_EMBEDDING, Part.FEDERATED_EMBEDDING},
}
_LOCAL = "local"
_WEIGHTS = "weights"
_TRAININGS = "trainings"

STEADY_PASSES = 10
"""Number of last passes whose losses say that the weights have settled."""
STEADY_LOSS = 0.1
"""Standard deviation of these losses below which the weights have settled."""
MOST_PASSES = 30
"""Largest number of passes in which weights are learned for the first time (our bound)."""


class FedALASettings(MethodSettings):
    """Settings of FedALA."""

    layers: Literal["towers", "experts"] = "experts"
    """Higher layers, which are aggregated element by element: the towers, or experts and gates as well."""
    eta: NotNegative = 1000.0
    """Learning rate η of the elements' weights; 0 leaves them at one, which is FedAvg."""
    sample: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of a round's batches on which the weights are learned."""


class FedALA(FedAvg):
    """FedAvg's server: it does not see what becomes of the global model in a scenario."""

    @property
    def has_consensus(self) -> bool:
        """True, because the models that predict are not the global one."""
        return True


class WeightStep:
    """Step that learns the weights of the elements, and moves the aggregated parameters with them.

    Parameters
    ----------
    model
        Model that holds the aggregated parameters, changed in place.
    local, received
        The two values of each aggregated parameter, by name.
    weights
        Weights of their elements, by name.
    eta
        Learning rate of the weights.
    mixed_precision
        Whether matrix products are computed in bfloat16.

    Attributes
    ----------
    weights
        Weights learned so far.
    """

    def __init__(
        self,
        model: ScenarioModel,
        local: Mapping[str, Tensor],
        received: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        *,
        eta: float,
        mixed_precision: bool = False,
    ) -> None:
        self.model = model
        self.weights = dict(weights)
        self._local = local
        self._received = received
        self._eta = eta
        self._mixed_precision = mixed_precision
        self._aggregate()

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step, and return the loss of each task before it, (T,)."""
        self.model.zero_grad(set_to_none=True)
        losses = backward(self.model, batch, mixed_precision=self._mixed_precision)
        for name, weights in self.weights.items():
            gradient = self.model.get_parameter(name).grad
            if gradient is not None:
                pair = self._local[name], self._received[name]
                self.weights[name] = learn_weights(weights, gradient, *pair, self._eta)
        self._aggregate()
        return losses

    @torch.no_grad()
    def _aggregate(self) -> None:
        for name, weights in self.weights.items():
            aggregated = aggregate_elements(self._local[name], self._received[name], weights)
            self.model.get_parameter(name).copy_(aggregated)


class FedALAClient(ScenarioClient):
    """Aggregates the higher layers of what it receives with its own, then measures and trains the result.

    Attributes
    ----------
    higher
        Names of the parameters that are aggregated element by element.
    weights
        Weights of their elements, by name; empty before the first aggregation.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(FedALASettings)
        parameters = {name for name, _ in self.model.named_parameters()}
        self.higher = [name for name in names_of(self.slots, _HIGHER[self.settings.layers]) if name in parameters]
        self.weights: Tensors = {}
        self._trainings = 0

    def restore_predictor(self, memory: ClientMemory) -> None:
        """Aggregate the received higher layers with those that the last training left, if there was one."""
        local = memory.scope(_LOCAL)
        self._trainings = int(local.figures.get(_TRAININGS, 0))
        self.weights = dict(memory.scope(_WEIGHTS).model)
        if self._trainings:
            self._aggregate(local.model)

    def fit(self, order: Order, incoming: Incoming, memory: ClientMemory) -> Fitted:
        """Train the aggregated model, and remember its higher layers and the weights."""
        fitted = super().fit(order, incoming, memory)
        local = {name: self.model.state_dict()[name] for name in self.higher}
        kept = fitted.memory.with_scope(_LOCAL, ClientMemory(model=local, figures={_TRAININGS: self._trainings + 1}))
        return Fitted(fitted.report, kept.with_scope(_WEIGHTS, ClientMemory(model=self.weights)))

    def _aggregate(self, local: Mapping[str, Tensor]) -> None:
        state = self.model.state_dict()
        received = {name: state[name] for name in self.higher}
        near = {name: local[name].to(value.device) for name, value in received.items()}
        first = not self.weights
        weights = {
            name: torch.ones_like(value) if first else self.weights[name].to(value.device)
            for name, value in received.items()
        }
        model = self.make_model()  # a copy, whose normalization statistics move
        model.load_state_dict(state)
        precision = self.config.train.mixed_precision
        step = WeightStep(model, near, received, weights, eta=self.settings.eta, mixed_precision=precision)
        with trained_only(model, self.higher):
            self._learn(step, MOST_PASSES if first else 1)
        self.weights = step.weights
        self.model.load_state_dict(state | {name: model.get_parameter(name).detach() for name in self.higher})

    def _learn(self, step: WeightStep, passes: int) -> None:
        """Learn the weights on the same sample of rows in every pass, until they have settled."""
        train = self.config.train
        seed = derive_seed(self.config.seed, "aggregation", self._trainings, self.store.scenario)
        steps = max(1, round(self.settings.sample * local_steps(len(self.train_rows), train)))
        losses: list[float] = []
        for _ in range(passes):
            report = train_locally(step, self.train_rows, train, seed=seed, device=self.device, steps=steps)
            losses.append(float(report.losses.sum()))
            if len(losses) > STEADY_PASSES and pstdev(losses[-STEADY_PASSES:]) < STEADY_LOSS:
                return


METHOD = FederatedMethod(
    name="fedala",
    summary="federated averaging; a scenario mixes its own and the global higher layers, element by element",
    source="Zhang et al., AAAI 2023 (arXiv 2212.01197), algorithm 1",
    strategy=FedALA,
    client=FedALAClient,
    no_start="its first global model is taken over as it is, so that a scenario's own model would be lost",
    parameters="personalised",
    settings=FedALASettings,
    space={"layers": ("towers", "experts"), "eta": (10.0, 100.0, 1000.0)},
)
