"""Gradient-boosted trees on the prepared rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.central.floor import Example, Predictor
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.scoring.floor_model import TreePredictor, lightgbm_library
from pfmsmtrec_flwr.seeds import derive_seed

_TREES = 500
"""Largest number of trees."""
_PATIENCE = 30
"""Number of trees without a better validation log loss after which growing stops."""
_SEEDS = 2**31
"""Number of seeds that LightGBM accepts."""
_PARAMETERS = {
    "objective": "binary",
    "min_data_in_leaf": 50,
    "min_data_per_group": 50,
    "bagging_freq": 1,
    "bagging_fraction": 0.8,
    "feature_fraction": 0.8,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


def fit_trees(config: RunConfig, example: Example, *, num_leaves: int, learning_rate: float) -> Predictor:
    """Grow trees until the validation log loss no longer improves; categorical columns are split by sets of values.

    Parameters
    ----------
    config
        Configuration of the run, for its seed and its threads.
    example
        Rows of one task.
    num_leaves
        Largest number of leaves of a tree.
    learning_rate
        Share of each tree's prediction that is added.

    Raises
    ------
    UserError
        LightGBM is not installed.
    """
    lightgbm = lightgbm_library()
    parameters = _PARAMETERS | {
        "num_leaves": num_leaves,
        "learning_rate": learning_rate,
        "num_threads": config.train.threads,
        "seed": derive_seed(config.seed, "trees", example.task) % _SEEDS,
    }
    train = lightgbm.Dataset(
        _columns(example.train),
        label=example.train.labels[:, example.task],
        categorical_feature=list(range(len(example.sizes))),
        params=parameters,
    )
    validation = lightgbm.Dataset(
        _columns(example.validation), label=example.validation.labels[:, example.task], reference=train
    )
    booster = lightgbm.train(
        parameters,
        train,
        num_boost_round=_TREES,
        valid_sets=[validation],
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    return _Trees(booster, example.sizes, config.train.threads)


@dataclass(frozen=True, slots=True)
class _Trees:
    booster: Any
    sizes: Sequence[int]
    threads: int

    def __call__(self, rows: Split) -> NDArray[np.floating]:
        probabilities: NDArray[np.floating] = self.booster.predict(
            _columns(rows), num_iteration=self.booster.best_iteration, num_threads=self.threads
        )
        return probabilities

    def kept(self) -> TreePredictor:
        text = self.booster.model_to_string(num_iteration=self.booster.best_iteration)
        return TreePredictor.of_categories(text, self.sizes)


def _columns(rows: Split) -> Array:
    """Return all columns (n, F + N), categorical ones first, as doubles, which hold every category exactly."""
    return np.concatenate([rows.categorical, rows.numeric], axis=1, dtype=np.float64)
