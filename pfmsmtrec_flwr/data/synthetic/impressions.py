"""Inputs of made-up rows: how they are distributed, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.arrays import Array, Floats
from pfmsmtrec_flwr.data.synthetic.layout import FIELDS, ONES, ZEROS
from pfmsmtrec_flwr.seeds import derive_seed

_FEWEST_ROWS_OF_USER, _MOST_ROWS_OF_USER = 10, 20
_FACTORS = 8
_COMMON = 0.85  # share of a column's variance that comes from the factors
_POPULARITY_SHIFT = 0.5  # spread of log popularity between scenarios
_FACTOR_SHIFT = 0.2  # spread of the factors' means and log scales between scenarios
_TABLE_BITS = 16


@dataclass(frozen=True, slots=True)
class Impressions:
    """Inputs of some rows before standardisation."""

    categorical: npt.NDArray[np.int32]
    """(n, F), from 1."""
    numeric: Floats
    """(n, N) in [0, 1]."""
    users: npt.NDArray[np.int64]
    """(n,), from 0 in each chunk."""


@dataclass(frozen=True, slots=True)
class Population:
    """Distribution of the inputs that all scenarios of a seed start from."""

    loadings: Floats  # (factors, N)
    low: Floats  # (N,) a column is 0 below it ...
    scale: Floats  # (N,) ... and 1 at low + 1 / scale
    popularity: tuple[Array, ...]  # per field, log popularity (values,)

    @classmethod
    def of(cls, generator: np.random.Generator) -> Population:
        """Draw a population."""
        loadings = generator.standard_normal((_FACTORS, len(ZEROS)), dtype=np.float32)
        loadings *= np.sqrt(_COMMON) / np.linalg.norm(loadings, axis=0)
        low, scale = _column_limits()
        return cls(loadings, low, scale, tuple(_log_popularity(field.values, generator) for field in FIELDS))


@dataclass(frozen=True, slots=True)
class Habits:
    """Differences of a scenario's impressions from the population."""

    draws: tuple[npt.NDArray[np.uint8], ...]  # per field, the value of each 16-bit number
    shift: Floats  # (factors,)
    stretch: Floats  # (factors,)

    @classmethod
    def neutral(cls, population: Population) -> Habits:
        """Return the habits of a scenario that does not differ."""
        draws = tuple(_draw_table(each) for each in population.popularity)
        return cls(draws, np.zeros(_FACTORS, dtype=np.float32), np.ones(_FACTORS, dtype=np.float32))

    @classmethod
    def of(cls, population: Population, seed: int, scenario: str) -> Habits:
        """Draw the habits of a scenario."""
        generator = random_generator(seed, "habits", scenario)
        draws = tuple(
            _draw_table(each + _POPULARITY_SHIFT * generator.standard_normal(len(each)))
            for each in population.popularity
        )
        shift, stretch = _FACTOR_SHIFT * generator.standard_normal((2, _FACTORS), dtype=np.float32)
        return cls(draws, shift, np.exp(stretch))


def random_generator(seed: int | str, *parts: int | str) -> np.random.Generator:
    """Return the source of the random numbers of one purpose, named by `parts`."""
    return np.random.Generator(np.random.SFC64(derive_seed(seed, "synthetic", *parts)))


def draw_impressions(population: Population, habits: Habits, rows: int, seed: tuple[int | str, ...]) -> Impressions:
    """Draw impressions; the rows of a user follow one another."""
    generator = random_generator(*seed, "impressions")
    sizes = generator.integers(_FEWEST_ROWS_OF_USER, _MOST_ROWS_OF_USER + 1, rows // _FEWEST_ROWS_OF_USER + 1)
    users = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    count = int(users[-1]) + 1
    numeric = _draw_numeric(population, habits, generator, users, count)
    return Impressions(_draw_categorical(habits, generator, users, count), numeric, users)


def _draw_numeric(
    population: Population, habits: Habits, generator: np.random.Generator, users: npt.NDArray[np.int64], count: int
) -> Floats:
    factors = generator.standard_normal((len(users), _FACTORS), dtype=np.float32)
    factors += generator.standard_normal((count, _FACTORS), dtype=np.float32).take(users, axis=0)
    factors *= habits.stretch * np.float32(np.sqrt(0.5))  # half the user's, half the item's
    factors += habits.shift
    values: Floats = generator.random((len(users), len(ZEROS)), dtype=np.float32)  # uniform: cheaper than normal
    values *= np.float32(np.sqrt(12 * (1 - _COMMON)))
    values += factors @ population.loadings
    values -= population.low + np.float32(np.sqrt(3 * (1 - _COMMON)))  # the mean of the uniform part
    values *= population.scale
    return np.clip(values, 0, 1, out=values)


def _draw_categorical(
    habits: Habits, generator: np.random.Generator, users: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int32]:
    values = np.empty((len(users), len(FIELDS)), dtype=np.int32)
    for column, (field, table) in enumerate(zip(FIELDS, habits.draws, strict=True)):
        number = count if field.of_user else len(users)
        drawn = table.take(generator.integers(0, 1 << _TABLE_BITS, number, dtype=np.uint16))
        values[:, column] = drawn.take(users) if field.of_user else drawn
    return values


def _column_limits() -> tuple[Floats, Floats]:
    """Return the limits at which columns of variance 1 are cut to have the percentages of `ZEROS` and `ONES`."""
    normal = NormalDist()
    low = [normal.inv_cdf(percent / 100) if percent < 100 else 100.0 for percent in ZEROS]
    high = [
        normal.inv_cdf(1 - ONES[column] / 100) if column in ONES else each + 4.0
        for column, each in enumerate(low, start=1)
    ]
    scale = [1 / (top - bottom) for top, bottom in zip(high, low, strict=True)]
    return np.array(low, dtype=np.float32), np.array(scale, dtype=np.float32)


def _log_popularity(values: int, generator: np.random.Generator) -> Array:
    """Return a Zipf-like law over the values in random order."""
    return generator.permutation(-np.log(np.arange(1, values + 1)))


def _draw_table(log_popularity: Array) -> npt.NDArray[np.uint8]:
    """Return the value (from 1) that each 16-bit number stands for; a draw is then one look-up."""
    share = np.exp(log_popularity - log_popularity.max())
    edges = np.rint(np.cumsum(share) / share.sum() * (1 << _TABLE_BITS)).astype(np.int64)
    return np.repeat(np.arange(1, len(edges) + 1, dtype=np.uint8), np.diff(edges, prepend=0))
