"""The world of a seed: the population of its impressions, and the hidden layer of the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pfmsmtrec_flwr.data.arrays import Array, Floats
from pfmsmtrec_flwr.data.synthetic.impressions import (
    Habits,
    Impressions,
    Population,
    draw_impressions,
    random_generator,
)
from pfmsmtrec_flwr.data.synthetic.layout import FIELDS, ZEROS

REFERENCE_ROWS = 32_768
HIDDEN = 24
_INPUTS = 5  # width of the truth's input
_GAIN = 1.5  # scale of the hidden weights: how far from linear the truth is
_CATEGORICAL_SHARE = 0.4  # share of the fields in the variance of the truth's input


@dataclass(frozen=True, slots=True)
class World:
    """Everything that all scenarios of a seed share."""

    population: Population
    projection: Floats  # (N, inputs), standardisation of the columns folded in
    bias: Floats  # (inputs,)
    tables: tuple[Floats, ...]  # per field, (1 + values, inputs)
    hidden: Floats  # (inputs, hidden)
    hidden_bias: Floats  # (hidden,)
    covariance: Array  # (hidden, hidden), of the hidden units on the reference impressions

    @classmethod
    def of(cls, seed: int) -> World:
        """Draw the world of a seed."""
        generator = random_generator(seed, "world")
        normal = generator.standard_normal
        rough = cls(
            population=Population.of(generator),
            projection=normal((len(ZEROS), _INPUTS), dtype=np.float32),
            bias=np.zeros(_INPUTS, dtype=np.float32),
            tables=tuple(normal((1 + field.values, _INPUTS), dtype=np.float32) for field in FIELDS),
            hidden=_unit_columns(normal((_INPUTS, HIDDEN), dtype=np.float32)) * np.float32(_GAIN),
            hidden_bias=normal(HIDDEN, dtype=np.float32) * np.float32(0.5),
            covariance=np.eye(HIDDEN),
        )
        neutral = Habits.neutral(rough.population)
        return rough._scaled(draw_impressions(rough.population, neutral, REFERENCE_ROWS, (seed, "reference")))

    def features(self, rows: Impressions) -> Floats:
        """Return the truth's hidden units (n, hidden)."""
        inputs = rows.numeric @ self.projection
        inputs += self.bias
        for column, table in enumerate(self.tables):
            inputs += table.take(rows.categorical[:, column], axis=0)
        units = inputs @ self.hidden
        units += self.hidden_bias
        return np.tanh(units, out=units)

    def _scaled(self, reference: Impressions) -> World:
        """Scale columns and fields to their shares of the truth's inputs, which get mean 0 and variance 1."""
        spread = reference.numeric.std(axis=0)
        projection = self.projection / np.where(spread > 0, spread, 1)[:, None]
        columns = reference.numeric @ projection
        projection *= np.sqrt(1 - _CATEGORICAL_SHARE) / columns.std(axis=0)
        embedded = sum(table.take(reference.categorical[:, column], axis=0) for column, table in enumerate(self.tables))
        shrink = np.sqrt(_CATEGORICAL_SHARE) / np.std(embedded, axis=0)
        tables = tuple((table * shrink).astype(np.float32) for table in self.tables)
        world = replace(self, projection=projection.astype(np.float32), tables=tables)
        centre = (reference.numeric @ world.projection).mean(axis=0) + np.mean(embedded, axis=0) * shrink
        world = replace(world, bias=(-centre).astype(np.float32))
        return replace(world, covariance=np.cov(world.features(reference), rowvar=False))


def _unit_columns(values: Floats) -> Floats:
    unit: Floats = values / np.linalg.norm(values, axis=0)
    return unit
