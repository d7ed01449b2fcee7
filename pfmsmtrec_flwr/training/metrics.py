"""The metrics of predictions: AUC, log loss, AUC within users, calibration.

Examples
--------
Only the first user has rows of both classes, so only these two rows count in the AUC within users.

>>> import numpy as np
>>> from pfmsmtrec_flwr.training.metrics import task_metrics
>>> labels = np.array([0, 1, 0, 0], dtype=np.uint8)
>>> probabilities = np.array([0.2, 0.4, 0.1, 0.5])
>>> measured = task_metrics(labels, probabilities, users=np.array([1, 1, 2, 2]))
>>> round(measured.auc, 2), measured.gauc, measured.gauc_coverage, measured.positives
(0.67, 1.0, 0.5, 1)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.data.store.manifest import NO_USER
from pfmsmtrec_flwr.training.ranking import area_under_curve, grouped_areas

FloatArray = NDArray[np.floating]
CLIP = 1e-7
"""Distance from 0 and 1 that predictions keep in the log loss."""
PIECE = 1 << 20
"""Rows whose log loss is computed at once."""
COUNTS = ("positives.", "examples.")
"""Beginnings of the names of figures that count rows, and so are the same for every model."""


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """Metrics of one task on one set of rows.

    Attributes
    ----------
    auc
        Area under the ROC curve; None if the rows have one class only.
    logloss
        Mean negative log-likelihood in nats.
    gauc
        AUC within each user's rows, averaged over the users with both classes and weighted by their rows; None if the
        rows have no users, or no user has both classes.
    gauc_coverage
        Share of the rows that count in `gauc`, as their users have both classes; None if the rows have no users.
    calibration
        Predicted over observed positives; None if none is observed.
    positives, examples
        Number of positive rows and of all rows.
    """

    auc: float | None
    logloss: float
    gauc: float | None
    gauc_coverage: float | None
    calibration: float | None
    positives: int
    examples: int


def task_metrics(
    labels: NDArray[np.uint8], probabilities: FloatArray, users: NDArray[np.int64] | None = None
) -> TaskMetrics:
    """Return the metrics of ``probabilities`` (n,) for 0/1 ``labels`` (n,), and those within ``users`` (n,) if any."""
    positives = int(labels.sum())
    both = 0 < positives < len(labels)
    grouped = grouped_auc(labels, probabilities, users) if users is not None else None
    return TaskMetrics(
        auc=area_under_curve(labels, probabilities) if both else None,
        logloss=mean_log_loss(labels, probabilities),
        gauc=grouped.auc if grouped is not None else None,
        gauc_coverage=grouped.coverage if grouped is not None else None,
        calibration=predicted_over_observed(labels, probabilities),
        positives=positives,
        examples=len(labels),
    )


def mean_log_loss(labels: NDArray[np.uint8], probabilities: FloatArray) -> float:
    """Return the mean negative log-likelihood in nats of 0/1 labels (n,) under probabilities (n,).

    It is scikit-learn's value to the bit for up to `PIECE` rows, by the same logarithm, without the many checks of its
    input. With more rows, the sums of the pieces are added.

    Raises
    ------
    ValueError
        A probability is not a number, or there are no rows.
    """
    if not len(labels):
        raise ValueError("no rows have no log loss")
    from scipy.special import xlogy

    sums = []
    for first in range(0, len(labels), PIECE):
        piece = slice(first, first + PIECE)
        clipped = np.clip(probabilities[piece].astype(np.float64), CLIP, 1 - CLIP)
        sums.append(float(xlogy(1.0, np.where(labels[piece], clipped, 1 - clipped)).sum()))
    loss = -math.fsum(sums) / len(labels)
    if math.isnan(loss):
        raise ValueError("a predicted probability is not a number")
    return loss


def predicted_over_observed(labels: NDArray[np.uint8], probabilities: FloatArray) -> float | None:
    """Return the sum of probabilities (n,) over that of 0/1 labels (n,); None if no label is 1."""
    positives = int(labels.sum())
    return float(probabilities.sum(dtype=np.float64)) / positives if positives else None


def flat_figures(
    measured: Mapping[str, TaskMetrics], prefix: str = "", only: Collection[str] | None = None
) -> dict[str, float]:
    """Return the metrics of each task as ``<prefix>metric.task``, without those that are not defined.

    Parameters
    ----------
    measured
        Metrics by task.
    prefix
        Text before each name.
    only
        Names of the metrics to return; None: all.
    """
    return {
        f"{prefix}{metric}.{task}": float(value)
        for task, metrics in measured.items()
        for metric, value in asdict(metrics).items()
        if value is not None and (only is None or metric in only)
    }


@dataclass(frozen=True, slots=True)
class GroupedAuc:
    """AUC within users.

    Attributes
    ----------
    auc
        Mean over the users with both classes, weighted by their rows; None if there is no such user.
    coverage
        Share of all rows that belong to such users.
    """

    auc: float | None
    coverage: float


def grouped_auc(labels: NDArray[np.uint8], probabilities: FloatArray, users: NDArray[np.int64]) -> GroupedAuc:
    """Return the AUC of each user's rows, averaged over the users with both classes and weighted by their rows.

    Rows without a user (`NO_USER`) belong to no user, and are not covered.

    References
    ----------
    Zhu et al., "Optimized Cost per Click in Taobao Display Advertising", KDD 2017, section 5.1.
    """
    found = grouped_areas(labels, probabilities, users, outside=NO_USER)
    if not len(found.areas):
        return GroupedAuc(None, 0.0)
    return GroupedAuc(float(np.average(found.areas, weights=found.rows)), float(found.rows.sum()) / len(labels))
