from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy.optimize import minimize
from stores import split_of

from pfmsmtrec_flwr.central import logistic
from pfmsmtrec_flwr.central.floor import Example
from pfmsmtrec_flwr.central.logistic import fit_logistic, indicators
from pfmsmtrec_flwr.data.store.reader import Split


def test_a_value_has_a_column_and_unseen_has_none() -> None:
    rows = split_of([[1, 3], [0, 1], [2, 0], [0, 0]], numeric=[[0.5], [-1.0], [0.0], [2.0]])
    assert indicators(rows, (3, 4)).toarray().tolist() == [
        [1, 0, 0, 0, 1, 0.5],
        [0, 0, 1, 0, 0, -1.0],
        [0, 1, 0, 0, 0, 0.0],
        [0, 0, 0, 0, 0, 2.0],
    ]


def test_several_values_of_a_field_share_its_columns() -> None:
    rows = split_of([[1, 3, 1], [2, 2, 0], [0, 0, 0]])  # one column, then a field of two
    assert indicators(rows, (3, 4, 4), (0, 1, 1)).toarray().tolist() == [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0], [0] * 5]


def test_rows_of_numbers_alone_are_those_numbers() -> None:
    rows = split_of([[], []], numeric=[[0.5, 1.0], [0.0, 2.0]])
    assert indicators(rows, ()).toarray().tolist() == [[0.5, 1.0], [0.0, 2.0]]


@pytest.fixture(scope="module")
def rows() -> Split:
    generator = np.random.default_rng(0)
    categorical = generator.integers(0, 4, (300, 2))
    numeric = generator.standard_normal((300, 2))
    logit = numeric[:, 0] + 1.5 * (categorical[:, 0] == 2) - 0.7
    labels = generator.random(300) < 1 / (1 + np.exp(-logit))
    other = np.zeros(300)
    return split_of(categorical.tolist(), np.stack([other, labels], axis=1).tolist(), numeric=numeric.tolist())


@pytest.mark.parametrize("inverse", [0.01, 1.0])
def test_the_penalised_likelihood_is_at_its_maximum(rows: Split, inverse: float) -> None:
    """Comparison with the objective written out: the sum of the losses and ||w||² / 2C, without the intercept."""
    predicted = fit_logistic(Example((4, 4), rows, rows, 1), inverse)(rows)
    inputs, signs = indicators(rows, (4, 4)).toarray(), 2.0 * rows.labels[:, 1] - 1

    def objective(weights: np.ndarray) -> float:
        margins = signs * (inputs @ weights[1:] + weights[0])
        return float(np.logaddexp(0, -margins).sum() + weights[1:] @ weights[1:] / (2 * inverse))

    best = minimize(objective, np.zeros(1 + inputs.shape[1])).x
    assert predicted == pytest.approx(1 / (1 + np.exp(-(inputs @ best[1:] + best[0]))), abs=2e-3)


def test_too_few_iterations_are_told(
    rows: Split, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logistic, "_ITERATIONS", 1)
    with caplog.at_level(logging.WARNING, logger="pfmsmtrec"):
        fit_logistic(Example((4, 4), rows, rows, 1), 0.1)
    assert [record.getMessage() for record in caplog.records] == [
        "the logistic regression has not converged after 1 iterations"
    ]
