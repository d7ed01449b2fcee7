"""The truth of a scenario: readouts of the world's hidden units, one for each task.

The readouts of a world are mixed from orthogonal ones,

    ``r[s] = sqrt(1 - c) * shared + sqrt(c) * (sqrt(o) * side[s] * contrast + sqrt(1 - o) * own[s])``

with c the conflict of scenarios, ``side[s]`` +1 or -1 and o = 1/2. The logits of two scenarios on the same inputs
correlate by ``1 - c / 2`` (same side) or ``1 - 3 c / 2`` (opposed). Conversion after a click is mixed from the
click's readout and an own one; the two correlate by ``1 - 3 t / 2``, t the conflict of tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfmsmtrec_flwr.data.arrays import Array, Floats
from pfmsmtrec_flwr.data.synthetic.impressions import Habits, Impressions, draw_impressions, random_generator
from pfmsmtrec_flwr.data.synthetic.layout import TASKS
from pfmsmtrec_flwr.data.synthetic.settings import SyntheticSettings
from pfmsmtrec_flwr.data.synthetic.world import HIDDEN, REFERENCE_ROWS, World
from pfmsmtrec_flwr.seeds import derive_seed

_OPPOSED = 0.5  # share of a scenario's own part that two sides hold with opposite signs


@dataclass(frozen=True, slots=True)
class Truth:
    """A scenario's readouts of the world's hidden units."""

    world: World
    readouts: Floats  # (hidden, 2): click, conversion after a click
    intercepts: Floats  # (2,)

    @classmethod
    def of(cls, world: World, habits: Habits, settings: SyntheticSettings, scenario: str) -> Truth:
        """Scale the readouts on a sample of the scenario's own impressions: signals and base rates hold there."""
        sample = draw_impressions(world.population, habits, REFERENCE_ROWS, (settings.seed, scenario, "sample"))
        readouts = mixed_readouts(world, settings, scenario)
        values = world.features(sample).astype(np.float64) @ readouts
        scale = np.array([settings.click_signal, settings.conversion_signal]) / values.std(axis=0)
        logits = (values - values.mean(axis=0)) * scale
        ctr, ctcvr = settings.rates(scenario)
        click = _intercept(logits[:, 0], np.ones(len(logits)), ctr)
        conversion = _intercept(logits[:, 1], sigmoid(logits[:, 0] + click), ctcvr)
        intercepts = np.array([click, conversion]) - values.mean(axis=0) * scale
        return cls(world, (readouts * scale).astype(np.float32), intercepts.astype(np.float32))

    def logits(self, rows: Impressions) -> Floats:
        """Return the logits (n, 2) of a click, and of a conversion after a click."""
        logits: Floats = self.world.features(rows) @ self.readouts
        logits += self.intercepts
        return logits


def mixed_readouts(world: World, settings: SyntheticSettings, scenario: str) -> Array:
    """Return the readouts (hidden, 2) of click and conversion, of variance 1 on the reference impressions."""
    names = ("shared", "contrast")
    common = [random_generator(settings.seed, task, name).standard_normal(HIDDEN) for name in names for task in TASKS]
    own = [random_generator(settings.seed, task, "own", scenario).standard_normal(HIDDEN) for task in TASKS]
    basis = _orthonormal(np.stack(common + own, axis=1), world.covariance)
    shared, contrast, own_part = basis[:, 0:2], basis[:, 2:4], basis[:, 4:6]
    conflict = settings.scenario_conflict
    particular = np.sqrt(_OPPOSED) * side(scenario) * contrast + np.sqrt(1 - _OPPOSED) * own_part
    click, other = (np.sqrt(1 - conflict) * shared + np.sqrt(conflict) * particular).T
    agreement = 1 - (1 + _OPPOSED) * settings.task_conflict
    return np.stack([click, agreement * click + np.sqrt(1 - agreement**2) * other], axis=1)


def side(scenario: str) -> int:
    """Return +1 or -1, from the name alone: NL and US are on one side, ES and FR on the other."""
    return 1 - 2 * (derive_seed("side", scenario) % 2)


def sigmoid(logits: Array) -> Array:
    """Return the probabilities that belong to logits."""
    return 1 / (1 + np.exp(-logits))


def _orthonormal(vectors: Array, covariance: Array) -> Array:
    """Gram-Schmidt of the columns in the metric ``covariance``: readouts become uncorrelated, of variance 1."""
    factor = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance)))
    basis, triangle = np.linalg.qr(factor.T @ vectors)
    return np.linalg.solve(factor.T, basis * np.sign(np.diag(triangle)))


def _intercept(logits: Array, weights: Array, rate: float) -> float:
    """Return b such that the mean of ``weights * sigmoid(logits + b)`` is `rate`, by bisection."""
    bottom, top = -60.0, 60.0
    for _ in range(60):
        middle = (bottom + top) / 2
        if np.mean(weights * sigmoid(logits + middle)) < rate:
            bottom = middle
        else:
            top = middle
    return (bottom + top) / 2
