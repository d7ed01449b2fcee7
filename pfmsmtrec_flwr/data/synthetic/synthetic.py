"""Made-up scenarios in the layout of AliExpress, drawn from a known truth; nothing to download.

An impression has 16 categorical fields and 63 numeric columns in [0, 1]: many are zero in most rows, as in the real
ones. Columns hang together through a few latent factors, which are those of the user and of the item shown.
Popularity of categories and scale of factors differ from scenario to scenario.

The truth is a random network: ``h = tanh(W x + b)``, x a projection of the columns and of the fields' embeddings, and
one readout of h per scenario and task. All networks of a world share W; its readouts are mixed from orthogonal ones,

    ``r[s] = sqrt(1 - c) * shared + sqrt(c) * (sqrt(o) * side[s] * contrast + sqrt(1 - o) * own[s])``

with c the conflict of scenarios, ``side[s]`` +1 or -1 and o = 1/2. The logits of two scenarios on the same inputs
correlate by ``1 - c / 2`` (same side) or ``1 - 3 c / 2`` (opposed). Conversion after a click is mixed from the
click's readout and an own one so that the two correlate by ``1 - 3 t / 2``, t the conflict of tasks.

A scenario's rows depend on its own settings and the seed, not on which other scenarios there are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as _replace
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field as Setting
from pydantic import field_validator, model_validator
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from pfmsmtrec_flwr.data.store.listing import is_store
from pfmsmtrec_flwr.data.store.manifest import SPLITS, STORE_VERSION, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.data.store.writer import StoreWriter
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.seeds import derive_seed
from pfmsmtrec_flwr.validation import Section

TASKS = ("ctr", "ctcvr")
GENERATOR_VERSION = 1  # part of a data set's name: another generator never opens this one's stores

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]

_Rows = Annotated[int, Setting(ge=1)]
_Rate = Annotated[float, Setting(gt=0, lt=1)]
_Dial = Annotated[float, Setting(ge=0, le=1)]
_Strength = Annotated[float, Setting(ge=0, le=10)]

_TRAIN_ROWS = {"NL": 20_000, "ES": 12_000, "FR": 7_000, "US": 4_000}
_CTR = {"NL": 0.07, "ES": 0.08, "FR": 0.09, "US": 0.1}
_CHUNK = 32_768  # rows that are drawn from one seed
_REFERENCE_ROWS = 32_768
_FEWEST_ROWS_OF_USER, _MOST_ROWS_OF_USER = 10, 20
_OPPOSED = 0.5  # share of a scenario's own part that two sides hold with opposite signs
_FACTORS = 8
_COMMON = 0.85  # share of a column's variance that comes from the factors
_INPUTS = 5  # width of the truth's input
_HIDDEN = 24
_GAIN = 1.5  # of the hidden units: how far from linear the truth is
_CATEGORICAL_SHARE = 0.4  # of the variance of the truth's input
_POPULARITY_SHIFT = 0.5  # spread of log popularity between scenarios
_FACTOR_SHIFT = 0.2  # spread of the factors' means and log scales between scenarios
_TABLE_BITS = 16


@dataclass(frozen=True, slots=True)
class _Layout:
    """A categorical field: values that occur, whether it belongs to the user, whether its table may travel."""

    values: int
    of_user: bool = False
    federated: bool = True


# Numbers of values as in the real files; categorical_8 and _9 stand for a profile that stays at home.
_LAYOUT = (
    _Layout(10),
    _Layout(4),
    _Layout(7),
    _Layout(2, of_user=True),
    _Layout(21),
    _Layout(7),
    _Layout(50),
    _Layout(8, of_user=True, federated=False),
    _Layout(7, of_user=True, federated=False),
    *(_Layout(2, of_user=True) for _ in range(3)),
    *(_Layout(2) for _ in range(4)),
)

# Percent of zeros and of ones in numerical_1 .. numerical_63 of the public samples of the real files.
# fmt: off
_ZEROS = (
    49, 47, 82, 49, 42, 44, 51, 61, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 20, 40, 65, 17, 63, 43, 78, 52, 26, 2, 10, 1, 28, 40,
    50, 9, 1, 2, 42, 47, 47, 47, 64, 89, 68, 73, 86, 95, 33, 47, 47, 47, 34, 1, 1, 19, 14, 14, 14, 100, 100, 100, 34,
    66, 66,
)
# fmt: on
_ONES = {1: 38, 2: 42, 3: 9, 4: 22, 5: 30, 6: 16, 7: 17, 8: 17, 22: 8, 44: 23, 45: 12, 61: 2}
_NUMERIC = tuple(f"numerical_{column}" for column in range(1, len(_ZEROS) + 1))


class SyntheticSettings(Section):
    """What the made-up scenarios are like; `seed` and these settings give every row."""

    train_rows: dict[str, _Rows] = Setting(default_factory=lambda: dict(_TRAIN_ROWS), min_length=1)
    """Training impressions of each scenario; its keys are the scenarios."""
    validation_rows: _Rows = 10_000
    """Impressions of each scenario's validation split."""
    test_rows: _Rows = 50_000
    """Impressions of each scenario's test split."""
    scenario_conflict: _Dial = 0.3
    """0: all scenarios share one truth; 1: each has its own, opposed ones among them."""
    task_conflict: _Dial = 0.3
    """0: what makes a click makes a conversion after it; 1: they are opposed."""
    ctr: _Rate | dict[str, _Rate] = Setting(default_factory=lambda: dict(_CTR))
    """Clicks per impression: one rate, or one for each scenario."""
    conversions_per_click: _Rate = 0.1
    """So that ctcvr is this part of ctr."""
    click_signal: _Strength = 1.3
    """Standard deviation of the logit of a click; 0: labels are pure chance."""
    conversion_signal: _Strength = 1.1
    """Standard deviation of the logit of a conversion after a click."""
    seed: int = 0

    @field_validator("train_rows")
    @classmethod
    def _names_are_folders(cls, rows: dict[str, int]) -> dict[str, int]:
        for name in rows:
            if not name or not name[0].isalnum() or not all(sign.isalnum() or sign in "_-." for sign in name):
                raise ValueError(f"{name!r} is no scenario name: use letters, digits, '_', '-' and '.'")
        return rows

    @model_validator(mode="after")
    def _every_scenario_has_a_rate(self) -> SyntheticSettings:
        if isinstance(self.ctr, dict) and (missing := sorted(self.train_rows.keys() - self.ctr.keys())):
            raise ValueError(f"ctr: no rate for {', '.join(missing)}; give each scenario one, or one number for all")
        return self

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Names of the scenarios, sorted."""
        return tuple(sorted(self.train_rows))

    def rates(self, scenario: str) -> tuple[float, float]:
        """Return the expected rates of `TASKS` in a scenario."""
        ctr = self.ctr[scenario] if isinstance(self.ctr, dict) else self.ctr
        return ctr, ctr * self.conversions_per_click

    def rows(self, scenario: str, split: str) -> int:
        """Return the number of impressions of a scenario's split."""
        return {
            "train": self.train_rows[scenario],
            "validation": self.validation_rows,
            "test": self.test_rows,
        }[split]


@dataclass(frozen=True, slots=True)
class Attainable:
    """How well the true probabilities predict the labels; no model can be expected to do better."""

    auc: float | None
    """None where the rows have one class only."""
    logloss: float
    """Mean negative log-likelihood in nats."""


def synthetic_dataset_name(settings: SyntheticSettings) -> str:
    """Return the name under which stores of these settings are kept, ``synthetic-<8 hex digits>``."""
    return f"synthetic-{_digest(settings)[:8]}"


def ensure_synthetic(settings: SyntheticSettings, scenario: str, data_root: Path) -> ScenarioStore:
    """Open the store ``<data_root>/<synthetic_dataset_name>/<scenario>``, made first if it is missing or damaged.

    Any number of processes may do it at once.

    Raises
    ------
    UserError
        `settings` has no such scenario, a task has one class in its training rows, or the folder cannot be written.
    """
    _check_scenario(settings, scenario)
    path = data_root / synthetic_dataset_name(settings) / scenario
    if is_store(path):
        try:
            return ScenarioStore.open(path)
        except UserError as error:
            logger.warning("made again: %s", error)
    with _one_thread():
        return _write(settings, scenario, path)


def generate(settings: SyntheticSettings, scenario: str) -> dict[str, Split]:
    """Draw the rows of one scenario, by split, in memory.

    Raises
    ------
    UserError
        `settings` has no such scenario.
    """
    splits = {}
    with _one_thread():
        maker = _Maker.of(settings, scenario)
        chunks = {split: list(maker.chunks(split)) for split in SPLITS}
    for split, parts in chunks.items():
        splits[split] = Split(
            categorical=np.concatenate([part.categorical for part in parts]),
            numeric=np.concatenate([part.numeric for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            users=np.concatenate([part.users for part in parts if part.users is not None]),
            probabilities=np.concatenate([part.probabilities for part in parts if part.probabilities is not None]),
        )
    return splits


def _one_thread() -> threadpool_limits:
    """Hold matrix products to one thread: their last bits, and so the rows, depend on how many there are."""
    return threadpool_limits(limits=1)


def best_attainable(store: ScenarioStore, split: str = "test") -> dict[str, Attainable]:
    """Measure the true probabilities of a made-up store on its own labels, by task.

    Raises
    ------
    UserError
        The store holds no true probabilities: it is not made up.
    """
    rows = store.splits[split]
    if rows.probabilities is None:
        raise UserError(f"{store.path} has no true probabilities, so the best attainable AUC is not known: real data")
    return {
        task: _attainable(rows.labels[:, column], rows.probabilities[:, column])
        for column, task in enumerate(store.tasks)
    }


def true_logits(
    settings: SyntheticSettings, scenario: str, categorical: npt.NDArray[np.int32], raw_numeric: Floats
) -> Floats:
    """Return a scenario's true logits of given impressions, whichever scenario they are from.

    Parameters
    ----------
    settings, scenario
        Whose truth.
    categorical
        int32 (n, 16), as stored.
    raw_numeric
        float32 (n, 63) in [0, 1], not standardised; see `raw_impressions`.

    Returns
    -------
    Floats
        float32 (n, 2): of a click, and of a conversion given a click.
    """
    return _truth(settings, scenario).logits(_Impressions(categorical, raw_numeric, _no_users(categorical)))


def raw_impressions(settings: SyntheticSettings, scenario: str, rows: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Draw ``categorical`` (n, 16) and not standardised ``numeric`` (n, 63) of a scenario, at most 32 768 rows."""
    world = _World.of(settings.seed)
    drawn = _draw(
        world, _Habits.of(world, settings.seed, scenario), min(rows, _CHUNK), (settings.seed, scenario, "raw")
    )
    return drawn.categorical, drawn.numeric


@dataclass(frozen=True, slots=True)
class _Impressions:
    """Inputs of some rows before standardisation."""

    categorical: npt.NDArray[np.int32]
    """(n, F), from 1."""
    numeric: Floats
    """(n, N) in [0, 1]."""
    users: npt.NDArray[np.int64]
    """(n,), from 0 in each chunk."""


@dataclass(frozen=True, slots=True)
class _World:
    """What all scenarios of a seed share: how columns hang together, and the truth's hidden layer."""

    loadings: Floats  # (factors, N)
    low: Floats  # (N,) a column is 0 below it ...
    scale: Floats  # (N,) ... and 1 at low + 1 / scale
    popularity: tuple[Array, ...]  # per field, log popularity (values,)
    projection: Floats  # (N, inputs), standardisation of the columns folded in
    bias: Floats  # (inputs,)
    tables: tuple[Floats, ...]  # per field, (1 + values, inputs)
    hidden: Floats  # (inputs, hidden)
    hidden_bias: Floats  # (hidden,)
    covariance: Array  # (hidden, hidden), of the hidden units on the reference impressions

    @classmethod
    def of(cls, seed: int) -> _World:
        generator = _generator(seed, "world")
        loadings = generator.standard_normal((_FACTORS, len(_ZEROS)), dtype=np.float32)
        loadings *= np.sqrt(_COMMON) / np.linalg.norm(loadings, axis=0)
        low, scale = _column_limits()
        popularity = tuple(_log_popularity(field.values, generator) for field in _LAYOUT)
        normal = generator.standard_normal
        rough = cls(
            loadings=loadings,
            low=low,
            scale=scale,
            popularity=popularity,
            projection=normal((len(_ZEROS), _INPUTS), dtype=np.float32),
            bias=np.zeros(_INPUTS, dtype=np.float32),
            tables=tuple(normal((1 + field.values, _INPUTS), dtype=np.float32) for field in _LAYOUT),
            hidden=_unit_columns(normal((_INPUTS, _HIDDEN), dtype=np.float32)) * np.float32(_GAIN),
            hidden_bias=normal(_HIDDEN, dtype=np.float32) * np.float32(0.5),
            covariance=np.eye(_HIDDEN),
        )
        return rough._scaled(_draw(rough, _Habits.neutral(rough), _REFERENCE_ROWS, (seed, "reference")))

    def features(self, rows: _Impressions) -> Floats:
        """Return the truth's hidden units (n, hidden)."""
        inputs = rows.numeric @ self.projection
        inputs += self.bias
        for column, table in enumerate(self.tables):
            inputs += table.take(rows.categorical[:, column], axis=0)
        units = inputs @ self.hidden
        units += self.hidden_bias
        return np.tanh(units, out=units)

    def _scaled(self, reference: _Impressions) -> _World:
        """Give columns and fields their shares of the truth's inputs, which get mean 0 and variance 1."""
        spread = reference.numeric.std(axis=0)
        projection = self.projection / np.where(spread > 0, spread, 1)[:, None]
        columns = reference.numeric @ projection
        projection *= np.sqrt(1 - _CATEGORICAL_SHARE) / columns.std(axis=0)
        embedded = sum(table.take(reference.categorical[:, column], axis=0) for column, table in enumerate(self.tables))
        shrink = np.sqrt(_CATEGORICAL_SHARE) / np.std(embedded, axis=0)
        tables = tuple((table * shrink).astype(np.float32) for table in self.tables)
        world = _replace(self, projection=projection.astype(np.float32), tables=tables)
        centre = (reference.numeric @ world.projection).mean(axis=0) + np.mean(embedded, axis=0) * shrink
        world = _replace(world, bias=(-centre).astype(np.float32))
        return _replace(world, covariance=np.cov(world.features(reference), rowvar=False))


@dataclass(frozen=True, slots=True)
class _Habits:
    """How a scenario's impressions are distributed."""

    draws: tuple[npt.NDArray[np.uint8], ...]  # per field, the value of each 16-bit number
    shift: Floats  # (factors,)
    stretch: Floats  # (factors,)

    @classmethod
    def neutral(cls, world: _World) -> _Habits:
        draws = tuple(_draw_table(each) for each in world.popularity)
        return cls(draws, np.zeros(_FACTORS, dtype=np.float32), np.ones(_FACTORS, dtype=np.float32))

    @classmethod
    def of(cls, world: _World, seed: int, scenario: str) -> _Habits:
        generator = _generator(seed, "habits", scenario)
        draws = tuple(
            _draw_table(each + _POPULARITY_SHIFT * generator.standard_normal(len(each))) for each in world.popularity
        )
        shift, stretch = _FACTOR_SHIFT * generator.standard_normal((2, _FACTORS), dtype=np.float32)
        return cls(draws, shift, np.exp(stretch))


@dataclass(frozen=True, slots=True)
class _Truth:
    """A scenario's readouts of the world's hidden units."""

    world: _World
    readouts: Floats  # (hidden, 2): click, conversion given a click
    intercepts: Floats  # (2,)

    @classmethod
    def of(cls, world: _World, settings: SyntheticSettings, scenario: str, sample: _Impressions) -> _Truth:
        """Scale the readouts on a sample of the scenario's own impressions: signals and base rates hold there."""
        readouts = _readouts(world, settings, scenario)
        values = world.features(sample).astype(np.float64) @ readouts
        scale = np.array([settings.click_signal, settings.conversion_signal]) / values.std(axis=0)
        logits = (values - values.mean(axis=0)) * scale
        ctr, ctcvr = settings.rates(scenario)
        click = _intercept(logits[:, 0], np.ones(len(logits)), ctr)
        conversion = _intercept(logits[:, 1], _sigmoid(logits[:, 0] + click), ctcvr)
        intercepts = np.array([click, conversion]) - values.mean(axis=0) * scale
        return cls(world, (readouts * scale).astype(np.float32), intercepts.astype(np.float32))

    def logits(self, rows: _Impressions) -> Floats:
        """Return (n, 2): of a click, and of a conversion given a click."""
        logits: Floats = self.world.features(rows) @ self.readouts
        logits += self.intercepts
        return logits


def _truth(settings: SyntheticSettings, scenario: str) -> _Truth:
    _check_scenario(settings, scenario)
    world = _World.of(settings.seed)
    habits = _Habits.of(world, settings.seed, scenario)
    sample = _draw(world, habits, _REFERENCE_ROWS, (settings.seed, scenario, "sample"))
    return _Truth.of(world, settings, scenario, sample)


@dataclass(frozen=True, slots=True)
class _Moments:
    """Mean and reciprocal deviation of the columns over a scenario's training rows, (N,) each."""

    mean: Floats
    factor: Floats  # 1 for a constant column

    @classmethod
    def of(cls, settings: SyntheticSettings, scenario: str, world: _World, habits: _Habits) -> _Moments:
        """Draw the training rows once for their moments alone: so they need not be kept to be standardised."""
        total = np.zeros(len(_ZEROS))
        squares = np.zeros(len(_ZEROS))
        count = settings.train_rows[scenario]
        for index, rows in enumerate(_chunk_rows(count)):
            numeric = _draw(world, habits, rows, (settings.seed, scenario, "train", index)).numeric
            total += numeric.sum(axis=0, dtype=np.float64)
            squares += np.einsum("ij,ij->j", numeric, numeric, dtype=np.float64)
        variance = squares / count - (total / count) ** 2
        deviation = np.sqrt(np.where(variance > 1e-9, variance, 1))
        return cls((total / count).astype(np.float32), (1 / deviation).astype(np.float32))


@dataclass(frozen=True, slots=True)
class _Maker:
    """Draws a scenario's rows chunk by chunk."""

    settings: SyntheticSettings
    scenario: str
    habits: _Habits
    truth: _Truth
    moments: _Moments

    @classmethod
    def of(cls, settings: SyntheticSettings, scenario: str) -> _Maker:
        truth = _truth(settings, scenario)
        habits = _Habits.of(truth.world, settings.seed, scenario)
        return cls(settings, scenario, habits, truth, _Moments.of(settings, scenario, truth.world, habits))

    def chunks(self, split: str) -> Iterator[Split]:
        """Draw the rows of a split; numeric columns are standardised with the moments of the training rows."""
        for index, rows in enumerate(_chunk_rows(self.settings.rows(self.scenario, split))):
            yield self._chunk(split, index, rows)

    def _chunk(self, split: str, index: int, rows: int) -> Split:
        seed = self.settings.seed, self.scenario, split, index
        drawn = _draw(self.truth.world, self.habits, rows, seed)
        probabilities = _sigmoid(self.truth.logits(drawn))
        chances = _generator(*seed, "labels").random((rows, 2), dtype=np.float32)
        events = chances < probabilities
        events[:, 1] &= events[:, 0]  # a conversion implies a click
        probabilities[:, 1] *= probabilities[:, 0]
        numeric = drawn.numeric
        numeric -= self.moments.mean
        numeric *= self.moments.factor
        first_user = (SPLITS.index(split) << 40) + index * _CHUNK
        return Split(drawn.categorical, numeric, events.view(np.uint8), drawn.users + first_user, probabilities)


def _chunk_rows(rows: int) -> list[int]:
    return [min(_CHUNK, rows - start) for start in range(0, rows, _CHUNK)]


def _write(settings: SyntheticSettings, scenario: str, path: Path) -> ScenarioStore:
    maker = _Maker.of(settings, scenario)
    fields = _fields()
    writer = StoreWriter(
        path,
        dataset=path.parent.name,
        scenario=scenario,
        fields=fields,
        numeric=_NUMERIC,
        tasks=TASKS,
        schema_hash=_digest(settings),
        users=True,
        probabilities=True,
    )
    with writer:
        for split in SPLITS:
            positives = np.zeros(len(TASKS), dtype=np.int64)
            for part in maker.chunks(split):
                writer.append(
                    split,
                    categorical=part.categorical,
                    numeric=part.numeric,
                    labels=part.labels,
                    users=part.users,
                    probabilities=part.probabilities,
                )
                positives += part.labels.sum(axis=0, dtype=np.int64)
            if split == "train":
                _check_classes(settings, scenario, positives)
        return writer.commit({"synthetic": settings.model_dump(mode="json")})


def _check_scenario(settings: SyntheticSettings, scenario: str) -> None:
    if scenario not in settings.train_rows:
        raise UserError(f"no made-up scenario '{scenario}': train_rows names {', '.join(settings.scenarios)}")


def _check_classes(settings: SyntheticSettings, scenario: str, positives: npt.NDArray[np.int64]) -> None:
    rows = settings.train_rows[scenario]
    for task, count in zip(TASKS, positives, strict=True):
        if count in (0, rows):
            raise UserError(
                f"made-up scenario {scenario}: {count} positives of {task} in {rows} training rows, expected both "
                "classes; change train_rows, ctr or conversions_per_click"
            )


def _fields() -> tuple[Field, ...]:
    return tuple(
        Field(f"categorical_{number}", 1 + field.values, field.federated) for number, field in enumerate(_LAYOUT, 1)
    )


def _digest(settings: SyntheticSettings) -> str:
    fields = [(field.name, field.size, field.federated) for field in _fields()]
    document = [GENERATOR_VERSION, STORE_VERSION, fields, _NUMERIC, TASKS, settings.model_dump(mode="json")]
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()


def _attainable(labels: npt.NDArray[np.uint8], probabilities: Floats) -> Attainable:
    both = 0 < int(labels.sum()) < len(labels)
    return Attainable(
        auc=float(roc_auc_score(labels, probabilities)) if both else None,
        logloss=float(log_loss(labels, probabilities.astype(np.float64), labels=[0, 1])),
    )


def _draw(world: _World, habits: _Habits, rows: int, seed: tuple[int | str, ...]) -> _Impressions:
    """Draw impressions; the rows of a user follow one another."""
    generator = _generator(*seed, "impressions")
    sizes = generator.integers(_FEWEST_ROWS_OF_USER, _MOST_ROWS_OF_USER + 1, rows // _FEWEST_ROWS_OF_USER + 1)
    users = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    count = int(users[-1]) + 1
    numeric = _draw_numeric(world, habits, generator, users, count)
    return _Impressions(_draw_categorical(habits, generator, users, count), numeric, users)


def _draw_numeric(
    world: _World, habits: _Habits, generator: np.random.Generator, users: npt.NDArray[np.int64], count: int
) -> Floats:
    factors = generator.standard_normal((len(users), _FACTORS), dtype=np.float32)
    factors += generator.standard_normal((count, _FACTORS), dtype=np.float32).take(users, axis=0)
    factors *= habits.stretch * np.float32(np.sqrt(0.5))  # half the user's, half the item's
    factors += habits.shift
    values: Floats = generator.random((len(users), len(_ZEROS)), dtype=np.float32)  # uniform: cheaper than normal
    values *= np.float32(np.sqrt(12 * (1 - _COMMON)))
    values += factors @ world.loadings
    values -= world.low + np.float32(np.sqrt(3 * (1 - _COMMON)))  # the mean of the uniform part
    values *= world.scale
    return np.clip(values, 0, 1, out=values)


def _draw_categorical(
    habits: _Habits, generator: np.random.Generator, users: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int32]:
    values = np.empty((len(users), len(_LAYOUT)), dtype=np.int32)
    for column, (field, table) in enumerate(zip(_LAYOUT, habits.draws, strict=True)):
        number = count if field.of_user else len(users)
        drawn = table.take(generator.integers(0, 1 << _TABLE_BITS, number, dtype=np.uint16))
        values[:, column] = drawn.take(users) if field.of_user else drawn
    return values


def _column_limits() -> tuple[Floats, Floats]:
    """Return where columns of variance 1 are cut so that they have the percentages of zeros and ones wanted."""
    normal = NormalDist()
    low = [normal.inv_cdf(percent / 100) if percent < 100 else 100.0 for percent in _ZEROS]
    high = [
        normal.inv_cdf(1 - _ONES[column] / 100) if column in _ONES else each + 4.0
        for column, each in enumerate(low, start=1)
    ]
    scale = [1 / (top - bottom) for top, bottom in zip(high, low, strict=True)]
    return np.array(low, dtype=np.float32), np.array(scale, dtype=np.float32)


def _log_popularity(values: int, generator: np.random.Generator) -> Array:
    """Return a Zipf-like law over the values in random order."""
    return generator.permutation(-np.log(np.arange(1, values + 1)))


def _draw_table(log_popularity: Array) -> npt.NDArray[np.uint8]:
    """Return the value (from 1) that each 16-bit number stands for, so that a draw is one look-up."""
    share = np.exp(log_popularity - log_popularity.max())
    edges = np.rint(np.cumsum(share) / share.sum() * (1 << _TABLE_BITS)).astype(np.int64)
    return np.repeat(np.arange(1, len(edges) + 1, dtype=np.uint8), np.diff(edges, prepend=0))


def _readouts(world: _World, settings: SyntheticSettings, scenario: str) -> Array:
    """Return the mixed readouts of click and conversion (hidden, 2), of variance 1 on the reference impressions."""
    names = ("shared", "contrast")
    common = [_generator(settings.seed, task, name).standard_normal(_HIDDEN) for name in names for task in TASKS]
    own = [_generator(settings.seed, task, "own", scenario).standard_normal(_HIDDEN) for task in TASKS]
    basis = _orthonormal(np.stack(common + own, axis=1), world.covariance)
    shared, contrast, own_part = basis[:, 0:2], basis[:, 2:4], basis[:, 4:6]
    conflict = settings.scenario_conflict
    particular = np.sqrt(_OPPOSED) * _side(scenario) * contrast + np.sqrt(1 - _OPPOSED) * own_part
    click, other = (np.sqrt(1 - conflict) * shared + np.sqrt(conflict) * particular).T
    agreement = 1 - (1 + _OPPOSED) * settings.task_conflict
    return np.stack([click, agreement * click + np.sqrt(1 - agreement**2) * other], axis=1)


def _side(scenario: str) -> int:
    """Return +1 or -1, from the name alone: NL and US are on one side, ES and FR on the other."""
    return 1 - 2 * (derive_seed("side", scenario) % 2)


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
        if np.mean(weights * _sigmoid(logits + middle)) < rate:
            bottom = middle
        else:
            top = middle
    return (bottom + top) / 2


def _sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


def _unit_columns(values: Floats) -> Floats:
    unit: Floats = values / np.linalg.norm(values, axis=0)
    return unit


def _no_users(categorical: Array) -> npt.NDArray[np.int64]:
    return np.zeros(len(categorical), dtype=np.int64)


def _generator(*parts: int | str) -> np.random.Generator:
    seed, *rest = parts
    return np.random.Generator(np.random.SFC64(derive_seed(seed, "synthetic", *rest)))
