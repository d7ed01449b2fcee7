"""AUC of every variant, seed, scenario and task in every draw of test users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.results.resampling import FloatMatrix, draw_weights, weighted_auc

FloatArray = NDArray[np.float64]
_BLOCK = 512
"""Most draws at once: with more, sums are no faster."""
_WEIGHTS = 1 << 26
"""Most weights in memory at once."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Test rows of one scenario.

    Attributes
    ----------
    tasks
        Names of the columns of `labels`.
    labels
        Labels (n, T), 0 or 1 in rows that have one.
    units
        Number of each row's unit (n,), counted over all scenarios.
    counted
        Index of the rows that have a label, by task, where some rows have none.
    """

    tasks: tuple[str, ...]
    labels: NDArray[np.uint8]
    units: NDArray[np.int64]
    counted: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted probabilities (n, T) of a scenario's test rows by one run."""

    variant: str
    seed: int
    scenario: str
    probabilities: NDArray[np.float32]


class Replicates:
    """AUC in draws of units, drawn once for all predictions.

    Parameters
    ----------
    rows
        Test rows by scenario.
    predictions
        Predictions of these rows.
    draws
        Number of draws.
    seed
        Seed of the draws.

    Attributes
    ----------
    units
        Number of units.
    draws
        Number of draws.
    tasks
        Tasks, in the order in which scenarios name them.
    variants
        Variants that have predictions, in their order.
    """

    def __init__(
        self, rows: Mapping[str, LabelledRows], predictions: Sequence[Prediction], *, draws: int, seed: int
    ) -> None:
        self.units = 1 + max((int(own.units.max()) for own in rows.values() if len(own.units)), default=-1)
        self.draws = draws
        self.tasks = tuple(dict.fromkeys(task for own in rows.values() for task in own.tasks))
        self.variants = tuple(dict.fromkeys(each.variant for each in predictions))
        self._scenarios = tuple(rows)
        self._seeds: dict[tuple[str, str, str], set[int]] = {}
        self._auc: dict[tuple[str, int, str, str], FloatArray] = {
            (each.variant, each.seed, each.scenario, task): np.empty(1 + draws)
            for each in predictions
            for task in rows[each.scenario].tasks
        }
        for variant, number, scenario, task in self._auc:
            self._seeds.setdefault((variant, scenario, task), set()).add(number)
        size = max(1, min(_BLOCK, _WEIGHTS // max(1, self.units)))
        for start in range(0, 1 + draws, size):
            block = range(start, min(start + size, 1 + draws))
            self._fill(rows, predictions, block, draw_weights(self.units, block, seed))

    def counted(self, task: str, scenarios: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the scenarios, all by default, in whose test rows a task has both classes."""
        found = {key[2] for key, auc in self._auc.items() if key[3] == task and not np.isnan(auc[0])}
        return tuple(name for name in scenarios or self._scenarios if name in found)

    def seeds(self, variant: str, task: str, scenarios: Sequence[str]) -> set[int]:
        """Return the seeds with which a variant predicted all of some scenarios."""
        by_scenario = [self._seeds.get((variant, scenario, task), set()) for scenario in scenarios]
        return set.intersection(*by_scenario) if by_scenario else set()

    def mean(self, variant: str, task: str, scenarios: Sequence[str], seeds: set[int]) -> FloatArray:
        """Return the AUC (1 + B,), mean over scenarios and seeds; first that of the rows as they are."""
        own = [self._auc[variant, seed, scenario, task] for seed in sorted(seeds) for scenario in scenarios]
        mean: FloatArray = np.mean(own, axis=0)
        return mean

    def _fill(
        self,
        rows: Mapping[str, LabelledRows],
        predictions: Sequence[Prediction],
        block: range,
        weights: FloatMatrix,
    ) -> None:
        for scenario, own in rows.items():
            present, units = np.unique(own.units, return_inverse=True)
            local = weights[present]
            for each in predictions:
                if each.scenario == scenario:
                    for column, task in enumerate(own.tasks):
                        there = own.counted.get(task, slice(None))
                        labels, scores = own.labels[there, column], each.probabilities[there, column]
                        auc = weighted_auc(labels, scores, units[there], local)
                        self._auc[each.variant, each.seed, scenario, task][block.start : block.stop] = auc
