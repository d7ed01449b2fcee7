"""The generator of made-up rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from pfmsmtrec_flwr.data.arrays import Floats
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.data.synthetic.impressions import (
    Habits,
    Population,
    draw_impressions,
    random_generator,
)
from pfmsmtrec_flwr.data.synthetic.layout import ZEROS
from pfmsmtrec_flwr.data.synthetic.settings import SyntheticSettings
from pfmsmtrec_flwr.data.synthetic.truth import Truth, sigmoid
from pfmsmtrec_flwr.data.synthetic.world import World

_CHUNK = 32_768  # rows that are drawn from one seed


@dataclass(frozen=True, slots=True)
class RowGenerator:
    """Draws a scenario's rows chunk by chunk."""

    settings: SyntheticSettings
    scenario: str
    habits: Habits
    truth: Truth
    moments: ColumnMoments

    @classmethod
    def of(cls, settings: SyntheticSettings, scenario: str) -> RowGenerator:
        """Return the generator of a scenario's rows.

        Raises
        ------
        UserError
            `settings` has no such scenario.
        """
        settings.check_scenario(scenario)
        world = World.of(settings.seed)
        habits = Habits.of(world.population, settings.seed, scenario)
        truth = Truth.of(world, habits, settings, scenario)
        return cls(settings, scenario, habits, truth, ColumnMoments.of(settings, scenario, world.population, habits))

    def chunks(self, split: str) -> Iterator[Split]:
        """Draw the rows of a split; numeric columns are standardised with the moments of the training rows."""
        for index, rows in enumerate(_chunk_rows(self.settings.rows(self.scenario, split))):
            yield self._chunk(split, index, rows)

    def _chunk(self, split: str, index: int, rows: int) -> Split:
        seed = self.settings.seed, self.scenario, split, index
        drawn = draw_impressions(self.truth.world.population, self.habits, rows, seed)
        probabilities = sigmoid(self.truth.logits(drawn))
        chances = random_generator(*seed, "labels").random((rows, 2), dtype=np.float32)
        events = chances < probabilities
        events[:, 1] &= events[:, 0]  # a conversion implies a click
        probabilities[:, 1] *= probabilities[:, 0]
        numeric = drawn.numeric
        numeric -= self.moments.mean
        numeric *= self.moments.factor
        first_user = (SPLITS.index(split) << 40) + index * _CHUNK
        return Split(drawn.categorical, numeric, events.view(np.uint8), drawn.users + first_user, probabilities)


@dataclass(frozen=True, slots=True)
class ColumnMoments:
    """Mean and reciprocal deviation (N,) of the numeric columns over a scenario's training rows."""

    mean: Floats
    factor: Floats  # 1 for a constant column

    @classmethod
    def of(cls, settings: SyntheticSettings, scenario: str, population: Population, habits: Habits) -> ColumnMoments:
        """Draw the training rows once for their moments alone; to be standardised they are drawn again, not kept."""
        total = np.zeros(len(ZEROS))
        squares = np.zeros(len(ZEROS))
        count = settings.train_rows[scenario]
        for index, rows in enumerate(_chunk_rows(count)):
            numeric = draw_impressions(population, habits, rows, (settings.seed, scenario, "train", index)).numeric
            total += numeric.sum(axis=0, dtype=np.float64)
            squares += np.einsum("ij,ij->j", numeric, numeric, dtype=np.float64)
        variance = squares / count - (total / count) ** 2
        deviation = np.sqrt(np.where(variance > 1e-9, variance, 1))
        return cls((total / count).astype(np.float32), (1 / deviation).astype(np.float32))


def generate(settings: SyntheticSettings, scenario: str) -> dict[str, Split]:
    """Draw the rows of one scenario, by split, in memory.

    Raises
    ------
    UserError
        `settings` has no such scenario.
    """
    with one_thread():
        rows = RowGenerator.of(settings, scenario)
        return {split: _joined(list(rows.chunks(split))) for split in SPLITS}


def one_thread() -> threadpool_limits:
    """Hold matrix products to one thread: their last bits, and so the rows, depend on the number of threads."""
    return threadpool_limits(limits=1)


def _chunk_rows(rows: int) -> list[int]:
    return [min(_CHUNK, rows - start) for start in range(0, rows, _CHUNK)]


def _joined(parts: list[Split]) -> Split:
    return Split(
        categorical=np.concatenate([part.categorical for part in parts]),
        numeric=np.concatenate([part.numeric for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        users=np.concatenate([part.users for part in parts if part.users is not None]),
        probabilities=np.concatenate([part.probabilities for part in parts if part.probabilities is not None]),
    )
