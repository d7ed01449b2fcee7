"""Predictions of a model on a scenario's held-out rows, and their metrics.

Examples
--------
>>> import numpy as np
>>> from pfmsmtrec_flwr.data.store.reader import Split
>>> from pfmsmtrec_flwr.training.evaluation import measure
>>> labels = np.array([[0], [0], [1], [1]], dtype=np.uint8)  # (n, T)
>>> split = Split(np.zeros((4, 0), np.int32), np.zeros((4, 0), np.float32), labels, users=None, probabilities=None)
>>> probabilities = np.array([[0.1], [0.4], [0.3], [0.9]], dtype=np.float32)  # (n, T)
>>> measure(probabilities, split, ["ctr"])["ctr"].auc
0.75
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pfmsmtrec_flwr.data.batches import batches
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.training.metrics import CLIP, TaskMetrics, task_metrics

EVALUATION_ROWS = 8192
"""Rows of a batch in evaluation."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions for n rows and T tasks, in two forms.

    Attributes
    ----------
    probabilities
        Probabilities (n, T).
    log_odds
        Their log odds (n, T), as the network returns them, which are finer than the probabilities near 0 and 1.
    """

    probabilities: NDArray[np.float32]
    log_odds: NDArray[np.floating]

    @classmethod
    def of(cls, probabilities: NDArray[np.float32]) -> Predictions:
        """Return probabilities (n, T) of a predictor that has no log odds of its own."""
        from scipy.special import logit

        return cls(probabilities, logit(np.clip(probabilities.astype(np.float64), CLIP, 1 - CLIP)))


@torch.no_grad()
def predictions_of(model: ScenarioModel, split: Split, device: torch.device) -> Predictions:
    """Return the predictions for all rows of a split; the model is left in evaluation mode."""
    model.eval()
    log_odds = [model(batch.categorical, batch.numeric) for batch in batches(split, EVALUATION_ROWS, device=device)]
    probabilities = [chunk.sigmoid().cpu() for chunk in log_odds]
    return Predictions(torch.cat(probabilities).numpy(), torch.cat(log_odds).cpu().numpy())


def predict(model: ScenarioModel, split: Split, device: torch.device) -> NDArray[np.float32]:
    """Return the predicted probabilities (n, T) of all rows of a split; the model is left in evaluation mode."""
    return predictions_of(model, split, device).probabilities


@torch.no_grad()
def expert_shares(model: ScenarioModel, split: Split, device: torch.device) -> NDArray[np.float32]:
    """Return each task's mean share of each expert (T, E) over the first rows of a split; (0, 0) without gates."""
    model.eval()
    for batch in batches(split, EVALUATION_ROWS, device=device):
        shares = model.expert_shares(batch.categorical, batch.numeric)
        if shares is not None:
            return shares.mean(dim=0).cpu().numpy()
        break
    return np.zeros((0, 0), dtype=np.float32)


def measure(
    probabilities: NDArray[np.float32], split: Split, tasks: Sequence[str], *, grouped: bool = False
) -> dict[str, TaskMetrics]:
    """Return the metrics of predictions on a split, by task.

    Parameters
    ----------
    probabilities
        Predictions (n, T) for the rows of the split.
    split
        Rows with their labels. A row without a label of a task does not count for it.
    tasks
        Names of the tasks, in the order of the columns.
    grouped
        Whether to compute the AUC within users too, if the split has users.
    """
    users = np.asarray(split.users) if grouped and split.users is not None else None
    rows = [split.rows_of(column) for column in range(len(tasks))]
    return {
        task: task_metrics(
            np.asarray(split.labels[own, column]), probabilities[own, column], None if users is None else users[own]
        )
        for column, (task, own) in enumerate(zip(tasks, rows, strict=True))
    }
