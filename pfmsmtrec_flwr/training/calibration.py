"""Monotone recalibration of a scenario's predictions, fitted on its validation rows.

A curve maps the log odds of a prediction to a probability. It never falls, so the order of the rows stays: a Platt
curve keeps their AUC, an isotonic one ties the rows on a step. With few labels a curve stays close to the predictions.
Nothing of a curve leaves the scenario.

Examples
--------
A model that predicts twice the odds is brought back to them.

>>> import numpy as np
>>> from pfmsmtrec_flwr.training.calibration import fit_platt
>>> labels = np.array([0, 0, 0, 1] * 2000 + [0, 1, 1, 1] * 2000, dtype=np.uint8)
>>> log_odds = np.log(np.where(np.arange(16000) < 8000, 2 / 3, 6.0))
>>> curve = fit_platt(log_odds, labels)
>>> round(curve.slope, 3), round(curve.intercept, 3)
(1.0, -0.693)
>>> curve.apply(np.log([2 / 3, 6.0])).round(3).tolist()
[0.25, 0.75]
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.training.evaluation import Predictions
from pfmsmtrec_flwr.training.metrics import mean_log_loss, predicted_over_observed
from pfmsmtrec_flwr.validation import Section

Kind = Literal["platt", "isotonic"]
_Floats = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]
_Array = NDArray[np.floating]

PRIOR_LABELS = 5.0
"""Number of positives, or of negatives where they are fewer, that the predictions count for beside the labels.

For P observed positives, E predicted ones, and M, the larger of both but fewer than the negatives, the calibrated
predictions sum to (M P + 5 E) / (M + 5), which is within 4 % of P for P = 50 and E = 75.
"""
_LEVEL = 1e-6
"""Range of log odds below which all predictions count as one: a slope cannot be fitted to them."""


class PlattCurve(Section):
    """Logistic curve of the log odds, which rises everywhere.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods",
    Advances in Large Margin Classifiers 1999.
    """

    slope: Annotated[float, Field(gt=0)]
    intercept: float

    def apply(self, log_odds: _Array) -> NDArray[np.float64]:
        """Return the probabilities (n,) for log odds (n,)."""
        from scipy.special import expit

        found: NDArray[np.float64] = expit(self.slope * log_odds.astype(np.float64) + self.intercept)
        return found


class IsotonicCurve(Section):
    """Steps between points, straight between two points and level outside.

    References
    ----------
    Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """

    log_odds: _Floats
    """Log odds of the points, ascending."""
    probabilities: _Floats
    """Probabilities of the points, which never fall; rows on a step share one."""

    def apply(self, log_odds: _Array) -> NDArray[np.float64]:
        """Return the probabilities (n,) for log odds (n,)."""
        return np.interp(log_odds.astype(np.float64), self.log_odds, self.probabilities)


class CalibratedTask(Section):
    """Curve of one task, and what it was fitted on.

    Attributes
    ----------
    curve
        Curve.
    rows, positives
        Number of validation rows with a label of the task, and of positive ones.
    before, after
        Predicted over observed positives on these rows, without and with the curve; None without a positive.
    """

    curve: PlattCurve | IsotonicCurve
    rows: int
    positives: int
    before: float | None
    after: float | None


class Calibration(Section):
    """Curves of a scenario's tasks.

    Attributes
    ----------
    kind
        Kind of the curves.
    tasks
        Curve of each task. A task without a label in the validation rows has none, and keeps its predictions.
    """

    kind: Kind
    tasks: dict[str, CalibratedTask]

    def apply(self, predictions: Predictions, tasks: Sequence[str]) -> NDArray[np.float32]:
        """Return the calibrated probabilities (n, T).

        Parameters
        ----------
        predictions
            Predictions for n rows.
        tasks
            Names of the T tasks, in the order of the columns.
        """
        found = predictions.probabilities.copy()
        for column, task in enumerate(tasks):
            if task in self.tasks:
                found[:, column] = self.tasks[task].curve.apply(predictions.log_odds[:, column])
        return found

    def figures(
        self, predictions: Predictions, split: Split, tasks: Sequence[str], prefix: str = ""
    ) -> dict[str, float]:
        """Return log loss and calibration of the calibrated predictions for a split, by name.

        Parameters
        ----------
        predictions
            Predictions for the rows of the split.
        split
            Rows with their labels; one without a label of a task does not count for it.
        tasks
            Names of the tasks, in the order of the columns.
        prefix
            Text before each name, ``logloss_calibrated.TASK`` and ``calibration_calibrated.TASK`` (without observed
            positives left out).
        """
        calibrated = self.apply(predictions, tasks)
        found: dict[str, float] = {}
        for column, task in enumerate(tasks):
            own = split.rows_of(column)
            labels, probabilities = np.asarray(split.labels[own, column]), calibrated[own, column]
            found[f"{prefix}logloss_calibrated.{task}"] = mean_log_loss(labels, probabilities)
            if (ratio := predicted_over_observed(labels, probabilities)) is not None:
                found[f"{prefix}calibration_calibrated.{task}"] = ratio
        return found


def fit_calibration(
    kind: Literal["platt", "isotonic", "none"], predictions: Predictions, validation: Split, tasks: Sequence[str]
) -> Calibration | None:
    """Fit the curves of a scenario on its validation rows; a task without a label there has none.

    Parameters
    ----------
    kind
        Value of ``evaluation.calibration``.
    predictions
        Predictions for the validation rows, of the model of the chosen round.
    validation
        Validation rows.
    tasks
        Names of the tasks, in the order of the columns.

    Returns
    -------
    Calibration or None
        None if the run does not calibrate.
    """
    if kind == "none":
        return None
    fit = fit_platt if kind == "platt" else fit_isotonic
    fitted = {}
    for column, task in enumerate(tasks):
        own = validation.rows_of(column)
        labels, log_odds = np.asarray(validation.labels[own, column]), predictions.log_odds[own, column]
        if not len(labels):
            continue
        curve = fit(log_odds, labels)
        fitted[task] = CalibratedTask(
            curve=curve,
            rows=len(labels),
            positives=int(labels.sum()),
            before=predicted_over_observed(labels, predictions.probabilities[own, column]),
            after=predicted_over_observed(labels, curve.apply(log_odds)),
        )
    return Calibration(kind=kind, tasks=fitted)


def fit_platt(log_odds: _Array, labels: NDArray[np.uint8]) -> PlattCurve:
    """Fit a logistic curve.

    Where the fitted curve does not rise, as predictions worse than chance or all alike have it, the slope is 1 and only
    the intercept is fitted: the order of the rows stays.

    Parameters
    ----------
    log_odds
        Log odds of the predictions (n,).
    labels
        Labels (n,), 0 or 1.
    """
    values = log_odds.astype(np.float64)
    targets = _targets(values, labels)
    slope, intercept = _logistic(values, targets) if np.ptp(values) > _LEVEL else (0.0, 0.0)
    if slope <= 0:
        slope, intercept = 1.0, _shift(values, float(targets.mean()))
    return PlattCurve(slope=slope, intercept=intercept)


def fit_isotonic(log_odds: _Array, labels: NDArray[np.uint8]) -> IsotonicCurve:
    """Fit steps that never fall.

    Parameters
    ----------
    log_odds
        Log odds of the predictions (n,).
    labels
        Labels (n,), 0 or 1.
    """
    from sklearn.isotonic import IsotonicRegression

    values = log_odds.astype(np.float64)
    model = IsotonicRegression().fit(values, _targets(values, labels))
    return IsotonicCurve(log_odds=model.X_thresholds_.tolist(), probabilities=model.y_thresholds_.tolist())


def _targets(log_odds: NDArray[np.float64], labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the means (n,) of the labels and of the predictions, which weigh as `PRIOR_LABELS` of the rarer labels."""
    from scipy.special import expit

    predicted = expit(log_odds)
    positives = max(predicted.sum(), float(labels.sum()))
    negatives = max((1 - predicted).sum(), float((1 - labels).sum()))
    share = PRIOR_LABELS / (PRIOR_LABELS + min(positives, negatives))
    mixed: NDArray[np.float64] = (1 - share) * labels + share * predicted
    return mixed


def _logistic(values: NDArray[np.float64], targets: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept of the logistic regression of targets between 0 and 1 on values (n,)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last step may be too small to count
        model.fit(
            np.concatenate([values, values])[:, None],
            np.repeat([1, 0], len(values)),
            sample_weight=np.concatenate([targets, 1 - targets]),
        )
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _shift(values: NDArray[np.float64], mean: float) -> float:
    """Return the intercept with which the probabilities of values (n,), log odds, have a mean."""
    from scipy.optimize import brentq
    from scipy.special import expit

    far = float(np.abs(values).max()) + 40.0
    return float(brentq(lambda intercept: float(expit(values + intercept).mean()) - mean, -far, far))
