"""Figures that a scenario measures on its own rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.protocol import Order, Tensors
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.scoring.finished_model import FinishedModel
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.training.averaging import exponential_mean
from pfmsmtrec_flwr.training.batchnorm import refresh_statistics
from pfmsmtrec_flwr.training.calibration import Calibration, fit_calibration
from pfmsmtrec_flwr.training.draws import drawn_auc
from pfmsmtrec_flwr.training.evaluation import Predictions, expert_shares, measure, predict, predictions_of
from pfmsmtrec_flwr.training.metrics import COUNTS, flat_figures

_READ = frozenset({"auc", "logloss"})
"""Metrics of validation rows, and of true probabilities, that the server reads; no other one leaves the scenario."""


class Measurements:
    """Measures models on a scenario's rows.

    Parameters
    ----------
    store
        Rows of the scenario.
    rows
        Training rows, from which normalization statistics are re-estimated.
    config
        Configuration of the run.
    device
        Device of the models.
    """

    def __init__(self, store: ScenarioStore, rows: Split, config: RunConfig, device: torch.device) -> None:
        self.store = store
        self.rows = rows
        self.config = config
        self.device = device

    def refresh_statistics(self, model: ScenarioModel, order: Order) -> None:
        """Re-estimate the normalization statistics of a model as it is, if the configuration asks for it."""
        seed = derive_seed(self.config.seed, "statistics", order.round, self.store.scenario)
        refresh_statistics(model, self.rows, self.config.train, seed=seed, device=self.device)

    def average(self, model: ScenarioModel, order: Order, memory: ClientMemory) -> Tensors:
        """Return the mean over the rounds of a model, its present state included; empty if ``train.ema_decay`` is 0."""
        share = self.config.train.ema_decay
        if not share:
            return {}
        before = {name: value.to(self.device) for name, value in memory.average.items()}
        if not order.evaluate:
            return before
        rounds = max(1, order.round - 1)  # the start from an earlier model, round 0, does not enter the mean
        return exponential_mean(before, model.state_dict(), share, rounds)

    def validation(self, model: ScenarioModel) -> dict[str, float]:
        """Return AUC and log loss on validation rows, and the mean share of each expert in each task.

        With noise on updates, shares of experts, which nobody needs to choose a round, stay.
        """
        split = self.store.splits["validation"]
        probabilities = predict(model, split, self.device)
        shares: Iterable[Tensor] = () if self.config.privacy.noise else expert_shares(model, split, self.device)
        return flat_figures(measure(probabilities, split, self.store.tasks), "validation.", _READ) | {
            f"gate.{task}.{expert}": float(share)
            for task, row in zip(self.store.tasks, shares, strict=False)
            for expert, share in enumerate(row)
        }

    def predict_test(self, model: ScenarioModel) -> Predictions:
        """Return the predictions for test rows."""
        return predictions_of(model, self.store.splits["test"], self.device)

    def finished(self, model: ScenarioModel, predictions: Predictions, selected: int, order: Order) -> FinishedModel:
        """Return a model with its calibration, which stays in the scenario, and its test figures, which are sent.

        Parameters
        ----------
        model
            Model of the selected round.
        predictions
            Its predictions for test rows.
        selected
            Number of the round.
        order
            Order that names the parts that have travelled.
        """
        kind, rows = self.config.evaluation.calibration, self.store.splits["validation"]
        held_out = predictions_of(model, rows, self.device)
        calibration = fit_calibration(kind, held_out, rows, self.store.tasks)
        figures = self.test(predictions, calibration)
        drawn = drawn_auc(self.store, predictions.probabilities, self.config.federation.draws)
        return FinishedModel(selected, model.spec, figures, drawn, calibration, travelled=order.parts)

    def test(self, predictions: Predictions, calibration: Calibration | None = None) -> dict[str, float]:
        """Return the figures of predictions for test rows, with metrics by user, and those after a calibration."""
        split, tasks = self.store.splits["test"], self.store.tasks
        figures = flat_figures(measure(predictions.probabilities, split, tasks, grouped=True))
        return figures | ({} if calibration is None else calibration.figures(predictions, split, tasks))

    def consensus(self, model: ScenarioModel) -> dict[str, float]:
        """Return the test figures of the consensus, without the counts of rows, which those of the own model have."""
        figures = self.test(self.predict_test(model))
        return {name: value for name, value in figures.items() if not name.startswith(COUNTS)}

    def best_attainable(self) -> dict[str, float]:
        """Return AUC and log loss of the true probabilities on test rows; nothing without them."""
        split = self.store.splits["test"]
        if split.probabilities is None:
            return {}
        return flat_figures(measure(np.asarray(split.probabilities), split, self.store.tasks), "best.", _READ)
