"""How good predictions are: AUC, log loss, grouped AUC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

FloatArray = NDArray[np.floating]
CLIP = 1e-7


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """Figures of one task on one set of rows.

    Attributes
    ----------
    auc
        Area under the ROC curve; None where the rows have one class only.
    logloss
        Mean negative log-likelihood in nats.
    gauc
        AUC within each user's rows, averaged with the number of rows as weight, over the users that have both classes;
        None without users or without such a user.
    gauc_coverage
        Share of the rows whose users have both classes, and so count in `gauc`; None without users.
    calibration
        Predicted over observed positives; None where none is observed.
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
    """Measure predicted ``probabilities`` (n,) against 0/1 ``labels`` (n,), grouped by ``users`` (n,) if given."""
    positives = int(labels.sum())
    both = 0 < positives < len(labels)
    grouped = grouped_auc(labels, probabilities, users) if users is not None else None
    clipped = np.clip(probabilities.astype(np.float64), CLIP, 1 - CLIP)
    return TaskMetrics(
        auc=float(roc_auc_score(labels, probabilities)) if both else None,
        logloss=float(log_loss(labels, clipped, labels=[0, 1])),
        gauc=grouped.auc if grouped is not None else None,
        gauc_coverage=grouped.coverage if grouped is not None else None,
        calibration=float(probabilities.sum(dtype=np.float64)) / positives if positives else None,
        positives=positives,
        examples=len(labels),
    )


def flat_figures(measured: Mapping[str, TaskMetrics], prefix: str = "") -> dict[str, float]:
    """Return the figures of each task as ``<prefix>metric.task``; those that are not defined are left out."""
    return {
        f"{prefix}{metric}.{task}": float(value)
        for task, metrics in measured.items()
        for metric, value in asdict(metrics).items()
        if value is not None
    }


@dataclass(frozen=True, slots=True)
class GroupedAuc:
    """AUC within users.

    Attributes
    ----------
    auc
        Mean over the users that have both classes, weighted by their rows; None if no user has.
    coverage
        Share of all rows that are of such users.
    """

    auc: float | None
    coverage: float


def grouped_auc(labels: NDArray[np.uint8], probabilities: FloatArray, users: NDArray[np.int64]) -> GroupedAuc:
    """AUC of each user's rows, averaged with the number of rows as weight, over the users that have both classes.

    References
    ----------
    Zhu et al., "Optimized Cost per Click in Taobao Display Advertising", KDD 2017, section 5.1.
    """
    frame = pd.DataFrame({"user": users, "positive": labels.astype(np.int64), "score": probabilities})
    frame["rank"] = frame.groupby("user")["score"].rank()  # mean rank among equals, as the Mann-Whitney U wants
    frame["positive_rank"] = frame["rank"] * frame["positive"]
    sums = frame.groupby("user").agg(
        rows=("positive", "size"), positives=("positive", "sum"), ranks=("positive_rank", "sum")
    )
    sums = sums[(sums["positives"] > 0) & (sums["positives"] < sums["rows"])]
    if sums.empty:
        return GroupedAuc(None, 0.0)
    positives = sums["positives"]
    auc = (sums["ranks"] - positives * (positives + 1) / 2) / (positives * (sums["rows"] - positives))
    return GroupedAuc(float(np.average(auc, weights=sums["rows"])), float(sums["rows"].sum()) / len(labels))
