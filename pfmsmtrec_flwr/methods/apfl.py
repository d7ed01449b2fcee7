"""A mixture of the global model and each scenario's own model, with a learned share.

APFL (Deng et al., arXiv 2003.13461, section 3 and algorithm 1; code MLOPTPSU/FedTorch) trains the global model w as
FedAvg does, and in the same steps a model v of the scenario's own along the gradient at ``α * v + (1 - α) * w``, which
predicts. α follows the loss's derivative at that point.

What differs: α moves at every step, as the paper's equation has it; the authors' code moves it once a round, with a
decay of 0.02 α. That code mixes the two models' outputs, too; here, as in the paper, their parameters are mixed. The
optimiser of v is Adam or Adagrad, as that of w.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import Fraction, MethodSettings, NotNegative, RunConfig, TrainSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.trainer import Fitted
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.training.local import backward
from pfmsmtrec_flwr.training.optimizers import LocalOptimizer

_OWN = "own"
_SHARE = "share"


class APFLSettings(MethodSettings):
    """Settings of APFL."""

    alpha: Fraction = 0.5
    """Initial share α of the scenario's own model in the mixture."""
    alpha_lr: NotNegative = 0.1
    """Step in which α is learned; 0 leaves it as it starts."""


class APFL(FedAvg):
    """FedAvg's server: it sees neither the scenarios' own models nor the mixtures."""

    @property
    def has_consensus(self) -> bool:
        """True, because the models that predict are not the global one."""
        return True


@dataclass(slots=True)
class Mixture:
    """Mixture ``α * v + (1 - α) * w`` of two models of the same shape.

    Attributes
    ----------
    travelling
        w, the scenario's copy of the global model.
    own
        v, the scenario's own model.
    mixed
        Mixture of both; its normalization statistics are its own.
    share
        α in [0, 1].
    """

    travelling: ScenarioModel
    own: ScenarioModel
    mixed: ScenarioModel
    share: float

    @torch.no_grad()
    def update(self) -> None:
        """Mix the two models as they are; a share of 0 or 1 gives one of them to the last bit."""
        for w, v, mixed in zip(*self._parameters(), strict=True):
            mixed.copy_(torch.lerp(w, v, self.share))

    @torch.no_grad()
    def slope(self) -> float:
        """Return ``<v - w, grad F(mixture)>``, the derivative of the loss by α, from the gradient in the mixture."""
        products = [
            torch.sum((v - w) * mixed.grad, dtype=torch.float64)
            for w, v, mixed in zip(*self._parameters(), strict=True)
            if mixed.grad is not None
        ]
        return float(torch.stack(products).sum())

    @torch.no_grad()
    def pass_gradient(self) -> None:
        """Set the gradient of v to ``α * grad F(mixture)``, by the chain rule."""
        for v, mixed in zip(self.own.parameters(), self.mixed.parameters(), strict=True):
            v.grad = None if mixed.grad is None else mixed.grad * self.share

    def _parameters(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        return (
            list(self.travelling.parameters()),
            list(self.own.parameters()),
            list(self.mixed.parameters()),
        )


class MixtureStep:
    """Step that moves w along its own gradient, and v and α along the gradient at the mixture.

    Parameters
    ----------
    mixture
        Models to train in place.
    optimizers
        Optimisers of w and of v.
    train
        Settings of the training.
    alpha_lr
        Step in which the share is learned.
    """

    def __init__(
        self,
        mixture: Mixture,
        optimizers: tuple[LocalOptimizer, LocalOptimizer],
        train: TrainSettings,
        alpha_lr: float,
    ) -> None:
        self.model = mixture.travelling
        self._mixture = mixture
        self._optimizers = optimizers
        self._mixed_precision = train.mixed_precision
        self._share_lr = alpha_lr
        mixture.mixed.train()

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step, and return w's loss of each task before it, (T,)."""
        mixture = self._mixture
        mixture.update()
        mixture.mixed.zero_grad(set_to_none=True)
        device = batch.labels.device
        # Both models see the same dropout, and the generator advances as if there were one model alone.
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
    """Trains w as FedAvg does, and v and the share α through the mixture, which predicts.

    v and α stay on the scenario's disk. v itself is never applied, so its normalization statistics are those of the
    mixture.

    Attributes
    ----------
    mixture
        Both models and their mixture.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(APFLSettings)
        self.mixture = Mixture(self.model, self.make_model(), self.make_model(), self.settings.alpha)

    @property
    def predictor(self) -> ScenarioModel:
        """The mixture."""
        return self.mixture.mixed

    def restore_predictor(self, memory: ClientMemory) -> None:
        """Restore v and α, and mix v with w as received.

        Before the first training v is w with the scenario's own base rates.
        """
        self.restore(self.mixture.own, memory, _OWN)
        self.mixture.share = memory.scope(_OWN).figures.get(_SHARE, self.mixture.share)
        self.mixture.mixed.load_state_dict(self.mixture.own.state_dict())
        self.mixture.update()

    def fit(self, order: Order, incoming: Incoming, memory: ClientMemory) -> Fitted:  # noqa: ARG002 - nothing pulls
        """Train w, v and α; the report covers w, which travels."""
        trainer, own = self.trainer, self.mixture.own
        of_w = trainer.resume_optimizer(self.model, memory)
        of_v = trainer.resume_optimizer(own, memory.scope(_OWN))
        step = MixtureStep(self.mixture, (of_w, of_v), self.config.train, self.settings.alpha_lr)
        report = trainer.run(step, order)
        kept = ClientMemory(
            model=self.mixture.mixed.state_dict() | dict(own.named_parameters()),
            optimizer=trainer.moments(of_v, own),
            figures={_SHARE: self.mixture.share},
        )
        return Fitted(report, ClientMemory(optimizer=trainer.moments(of_w, self.model)).with_scope(_OWN, kept))


METHOD = FederatedMethod(
    name="apfl",
    summary="a learned mixture of the averaged global model and a model of the scenario's own",
    source="Deng et al., arXiv 2003.13461, algorithm 1",
    strategy=APFL,
    client=APFLClient,
    no_start="a scenario saves the mixture of its two models, from which neither of them follows",
    parameters="personalised",
    settings=APFLSettings,
    space={"alpha": (0.25, 0.5, 0.75), "alpha_lr": (0.0, 0.01, 0.1)},
)
