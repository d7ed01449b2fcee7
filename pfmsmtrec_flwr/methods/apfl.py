"""A mixture of the global model and a model of the scenario's own, whose share is learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import BaselineSettings, RunConfig, TrainSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import Fitted, ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Tensors
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.training.local import backward
from pfmsmtrec_flwr.training.optimizers import LocalOptimizer

_OWN = "own/"
_SHARE = "mixture/share"


class APFL(FedAvg):
    """FedAvg's server: it sees neither the scenarios' own models nor the mixtures."""

    @property
    def has_consensus(self) -> bool:
        """The global model is another one than those that predict."""
        return True


@dataclass(slots=True)
class Mixture:
    """``a * v + (1 - a) * w`` of two models of the same shape.

    Attributes
    ----------
    travelling
        w, the scenario's copy of the global model.
    own
        v.
    mixed
        Their mixture; its normalization statistics are its own.
    share
        a, in [0, 1].
    """

    travelling: ScenarioModel
    own: ScenarioModel
    mixed: ScenarioModel
    share: float

    @torch.no_grad()
    def update(self) -> None:
        """Make the mixture of the two models as they are; a share of 0 or 1 gives one of them to the last bit."""
        for w, v, mixed in zip(*self._parameters(), strict=True):
            mixed.copy_(torch.lerp(w, v, self.share))

    @torch.no_grad()
    def slope(self) -> float:
        """Return the derivative by the share ``<v - w, grad F(mixture)>``, of the gradient that the mixture holds."""
        products = [
            torch.sum((v - w) * mixed.grad, dtype=torch.float64)
            for w, v, mixed in zip(*self._parameters(), strict=True)
            if mixed.grad is not None
        ]
        return float(torch.stack(products).sum())

    @torch.no_grad()
    def pass_gradient(self) -> None:
        """Give v its gradient ``a * grad F(mixture)``, by the chain rule."""
        for v, mixed in zip(self.own.parameters(), self.mixed.parameters(), strict=True):
            v.grad = None if mixed.grad is None else mixed.grad * self.share

    def _parameters(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        return (
            list(self.travelling.parameters()),
            list(self.own.parameters()),
            list(self.mixed.parameters()),
        )


class MixtureStep:
    """One step of w down its own gradient, of v down the gradient at the mixture, and of the share.

    Parameters
    ----------
    mixture
        The models, trained in place.
    optimizers
        Of w and of v.
    train, baselines
        Settings.
    """

    def __init__(
        self,
        mixture: Mixture,
        optimizers: tuple[LocalOptimizer, LocalOptimizer],
        train: TrainSettings,
        baselines: BaselineSettings,
    ) -> None:
        self.model = mixture.travelling
        self._mixture = mixture
        self._optimizers = optimizers
        self._mixed_precision = train.mixed_precision
        self._share_lr = baselines.mixture_lr
        mixture.mixed.train()

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step, and return w's loss of each task before it, (T,)."""
        mixture = self._mixture
        mixture.update()
        mixture.mixed.zero_grad(set_to_none=True)
        device = batch.labels.device
        # Both see the same dropout, and as much of it is drawn as if there were one model alone.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            backward(mixture.mixed, batch, mixed_precision=self._mixed_precision)
        self.model.zero_grad(set_to_none=True)
        losses = backward(self.model, batch, mixed_precision=self._mixed_precision)
        slope = mixture.slope()
        mixture.pass_gradient()
        for optimizer in self._optimizers:
            optimizer.step()
        mixture.share = min(1.0, max(0.0, mixture.share - self._share_lr * slope))
        return losses


class APFLClient(ScenarioClient):
    """Trains w as FedAvg does, its own v by the mixture of both, and the mixture's share; the mixture predicts.

    v and the share stay on the scenario's disk, and v's place for normalization statistics holds the mixture's: v
    itself is never applied.

    Attributes
    ----------
    mixture
        w, v and their mixture.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.mixture = Mixture(self.model, self.make_model(), self.make_model(), config.baselines.mixture)

    @property
    def predictor(self) -> ScenarioModel:
        """The mixture."""
        return self.mixture.mixed

    def recall(self, saved: Tensors) -> None:
        """Bring v and the share back, and mix v with w as received.

        Before the first training v is w, at the scenario's own base rates.
        """
        self.restore(self.mixture.own, saved, _OWN)
        if _SHARE in saved:
            self.mixture.share = float(saved[_SHARE])
        self.mixture.mixed.load_state_dict(self.mixture.own.state_dict())
        self.mixture.update()

    def fit(self, order: Order, incoming: Incoming, saved: Tensors) -> Fitted:  # noqa: ARG002 - nothing pulls
        """Train all three; the report is of w, which is what travels."""
        own = self.mixture.own
        optimizers = self.resume_optimizer(self.model, saved), self.resume_optimizer(own, saved, _OWN)
        step = MixtureStep(self.mixture, optimizers, self.config.train, self.config.baselines)
        report = self.run_steps(step, order)
        moments = self.optimizer_state(optimizers[0], self.model) | self.optimizer_state(optimizers[1], own, _OWN)
        kept = self.mixture.mixed.state_dict() | dict(own.named_parameters())
        share = torch.tensor(self.mixture.share, dtype=torch.float64)
        return Fitted(report, moments | {f"{_OWN}{name}": value for name, value in kept.items()} | {_SHARE: share})


METHOD = FederatedMethod(
    name="apfl",
    summary="a learned mixture of the averaged global model and a model of the scenario's own",
    source="Deng et al., arXiv 2003.13461, algorithm 1",
    strategy=APFL,
    client=APFLClient,
    parameters="personalised",
    space={"baselines.mixture": (0.25, 0.5, 0.75), "baselines.mixture_lr": (0.0, 0.01, 0.1)},
)
