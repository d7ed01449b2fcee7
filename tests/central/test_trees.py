from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from stores import split_of

from pfmsmtrec_flwr.central.floor import Example
from pfmsmtrec_flwr.central.trees import fit_trees
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.training.metrics import task_metrics

SIZES: dict[str, Any] = {"num_leaves": 15, "learning_rate": 0.05}

GOOD = (2, 3, 7, 11)
"""Values that click: no threshold separates them from the others."""


def drawn(seed: int, rows: int = 2000, *, signal: bool = True) -> Split:
    generator = np.random.default_rng(seed)
    categorical = generator.integers(1, 13, (rows, 1))
    rate = 0.2 + 0.6 * np.isin(categorical[:, 0], GOOD) * signal
    labels = (generator.random(rows) < rate)[:, None]
    numeric = generator.standard_normal((rows, 1))
    return split_of(categorical.tolist(), labels.astype(int).tolist(), numeric=numeric.tolist())


def example(*, signal: bool = True) -> Example:
    return Example((13,), drawn(0, signal=signal), drawn(1, signal=signal), 0)


def test_values_are_told_apart_as_categories() -> None:
    test = drawn(2)
    predicted = fit_trees(RunConfig(), example(), num_leaves=2, learning_rate=0.1)(test)
    good = np.isin(test.categorical[:, 0], GOOD)
    assert predicted[good].min() > 0.6 > 0.4 > predicted[~good].max()
    assert task_metrics(test.labels[:, 0], predicted).auc == pytest.approx(
        task_metrics(test.labels[:, 0], good.astype(float)).auc, abs=0.02
    )


def test_without_signal_growing_stops_at_once() -> None:
    test = drawn(2, signal=False)
    predicted = fit_trees(RunConfig(), example(signal=False), **SIZES)(test)
    assert np.ptp(predicted) < 0.1


def test_the_same_seed_gives_the_same_trees() -> None:
    test = drawn(2, rows=200)
    one, again, other = (fit_trees(RunConfig(seed=seed), example(), **SIZES)(test) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_an_unseen_value_is_predicted_too() -> None:
    predicted = fit_trees(RunConfig(), example(), **SIZES)(split_of([[0]], numeric=[[0.0]]))
    assert predicted.shape == (1,)
    assert 0 < predicted[0] < 1


def test_it_is_said_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'pfmsmtrec-flwr\[trees\]'$"):
        fit_trees(RunConfig(), example(), **SIZES)
