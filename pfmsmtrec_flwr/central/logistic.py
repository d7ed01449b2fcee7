"""Logistic regression on one indicator per value of each field and on the numeric columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.central.floor import Example, Predictor
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.scoring.floor_model import LinearPredictor

if TYPE_CHECKING:
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

_ITERATIONS = 1000
"""Largest number of iterations of the solver."""


def fit_logistic(example: Example, inverse: float) -> Predictor:
    """Fit a logistic regression with an L2 penalty of 1 / C, where C is `inverse`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse, max_iter=_ITERATIONS)
    labels = np.asarray(example.train.labels[:, example.task])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # logged below
        model.fit(indicators(example.train, example.sizes, example.fields), labels)
    if model.n_iter_.max() >= _ITERATIONS:
        logger.warning("the logistic regression has not converged after %d iterations", _ITERATIONS)
    return _Regression(model, example.sizes, example.fields)


@dataclass(frozen=True, slots=True)
class _Regression:
    model: LogisticRegression
    sizes: Sequence[int]
    fields: Sequence[int]

    def __call__(self, rows: Split) -> NDArray[np.floating]:
        inputs = indicators(rows, self.sizes, self.fields)
        probabilities: NDArray[np.floating] = self.model.predict_proba(inputs)[:, 1]
        return probabilities

    def kept(self) -> LinearPredictor:
        weights = self.model.coef_[0].astype(np.float64)
        places, starts = _columns_of_fields(self.sizes, self.fields)
        tables = (np.concatenate([[0.0], weights[starts[place] : starts[place + 1]]]) for place in places)
        return LinearPredictor(tuple(tables), weights[starts[-1] :], float(self.model.intercept_[0]))


def indicators(rows: Split, sizes: Sequence[int], fields: Sequence[int] = ()) -> sparse.csr_matrix:
    """Return an indicator column for each value above 0 of each field, then the numeric columns, (n, ...).

    In a field of several values, a column counts how often the row has the value.

    Parameters
    ----------
    rows
        The n rows.
    sizes
        Number of values of each categorical column, including 0.
    fields
        Position of the field of each column; empty: each column is a field.
    """
    values = np.asarray(rows.categorical)
    places, starts = _columns_of_fields(sizes, fields)
    known = values > 0
    columns = (values + starts[places] - 1)[known]
    ends = np.concatenate(([0], np.cumsum(known.sum(axis=1))))
    from scipy import sparse

    one_hot = sparse.csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(values), int(starts[-1])))
    return sparse.hstack([one_hot, sparse.csr_matrix(np.asarray(rows.numeric, dtype=np.float64))], format="csr")


def _columns_of_fields(sizes: Sequence[int], fields: Sequence[int]) -> tuple[list[int], NDArray[np.int64]]:
    """Return the field of each categorical column, and the first indicator of each field, with their number last."""
    places = list(fields or range(len(sizes)))
    of_field = dict(zip(places, sizes, strict=True))
    return places, np.cumsum([0, *(size - 1 for size in of_field.values())], dtype=np.int64)
