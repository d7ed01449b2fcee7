"""Local training of a scenario's models, and the optimiser state that they keep between exchanges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.memory import ClientMemory, Moments
from pfmsmtrec_flwr.federation.protocol import Order
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.local import Anchor, GradientStep, LocalStep, TrainReport, train_locally
from pfmsmtrec_flwr.training.optimizers import LocalOptimizer, make_optimizer


@dataclass(frozen=True, slots=True)
class Fitted:
    """Outcome of a local training.

    Attributes
    ----------
    report
        Report on the training whose parameters are sent.
    memory
        Memory to keep beside the parts of the travelling model: optimiser state and scopes.
    """

    report: TrainReport
    memory: ClientMemory = field(default_factory=ClientMemory)


class LocalTrainer:
    """Trains models on a scenario's rows.

    Parameters
    ----------
    scenario
        Name of the scenario.
    rows
        Training rows.
    config
        Configuration of the run.
    device
        Device of the models.
    """

    def __init__(self, scenario: str, rows: Split, config: RunConfig, device: torch.device) -> None:
        self.scenario = scenario
        self.rows = rows
        self.config = config
        self.device = device

    def fit(
        self,
        model: ScenarioModel,
        order: Order,
        anchors: Sequence[Anchor],
        memory: ClientMemory,
        *,
        purpose: str = "train",
        steps: int | None = None,
    ) -> Fitted:
        """Train a model in place, from the optimiser state in `memory` on, and return the new optimiser state.

        Parameters
        ----------
        model
            Model to train; frozen parameters stay as they are.
        order
            Order of the server.
        anchors
            Values to which parameters are pulled.
        memory
            Memory of this model: the scenario's, or a scope of it.
        purpose
            Trainings of one exchange with the same purpose see the same batches and the same dropout.
        steps
            Number of batches; None stands for the configured epochs.
        """
        optimizer = self.resume_optimizer(model, memory)
        step = GradientStep(model, optimizer, self.config.train, anchors)
        report = self.run(step, order, steps, purpose=purpose)
        return Fitted(report, ClientMemory(optimizer=self.moments(optimizer, model)))

    def run(self, step: LocalStep, order: Order, steps: int | None = None, *, purpose: str = "train") -> TrainReport:
        """Apply a step to batches of training rows; `steps` None stands for the configured epochs.

        Raises
        ------
        UserError
            Training diverged.
        """
        try:
            return train_locally(
                step,
                self.rows,
                self.config.train,
                seed=derive_seed(self.config.seed, purpose, order.exchange, self.scenario),
                device=self.device,
                steps=steps,
            )
        except FloatingPointError as error:
            raise UserError(f"scenario {self.scenario}, round {order.round}: {error}") from None

    def resume_optimizer(self, model: ScenarioModel, memory: ClientMemory) -> LocalOptimizer:
        """Return the optimisers of a model, with the remembered moments if ``train.optimizer_state`` keeps them."""
        optimizer = make_optimizer(model, self.config.train)
        if self._keeps_moments:
            parameters = dict(model.named_parameters())
            for name, moments in memory.optimizer.items():
                optimizer.restore(parameters[name], moments)
        return optimizer

    def moments(self, optimizer: LocalOptimizer, model: ScenarioModel) -> Moments:
        """Return the moments to remember; none if ``train.optimizer_state`` resets them in each round."""
        if not self._keeps_moments:
            return {}
        moments = {name: optimizer.moments_of(parameter) for name, parameter in model.named_parameters()}
        return {name: dict(kinds) for name, kinds in moments.items() if kinds}

    @property
    def _keeps_moments(self) -> bool:
        return self.config.train.optimizer_state == "keep"
