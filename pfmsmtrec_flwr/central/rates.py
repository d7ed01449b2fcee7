"""Rates in the place of wide fields: each value becomes the rate of positives of the training rows that have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.central.floor import Example, Predictor
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.scoring.floor_model import KeptPredictor, Tables

if TYPE_CHECKING:
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

_FOLDS = 5
"""Number of parts of the training rows."""
_SEEDS = 2**32
"""Number of seeds that scikit-learn accepts."""


@dataclass(frozen=True, slots=True)
class RateSettings:
    """Settings of the rates.

    Attributes
    ----------
    encode_above
        Number of values above which a field is wide; 0: no field is.
    smoothing
        Number of rows at the mean rate that are added to those of each value; 0: scikit-learn estimates it.
    """

    encode_above: int
    smoothing: float


def fit_on_rates(example: Example, settings: RateSettings, seed: int, fit: Callable[[Example], Predictor]) -> Predictor:
    """Fit a predictor on rows whose wide fields are replaced by standardised rates.

    The rates of a training row come from other training rows alone, so that they do not contain the row's own label.
    Validation rows and rows to predict have the rates of all training rows. A value without a training row has the
    mean rate. Each column of a field of several values has rates of its own. If a class has only one training row, the
    fields stay as they are.

    Parameters
    ----------
    example
        Rows of one task.
    settings
        Settings of the rates.
    seed
        Seed of the division of the training rows into parts.
    fit
        Function that fits the predictor; the rates come before the other numeric columns.

    References
    ----------
    Micci-Barreca, "A Preprocessing Scheme for High-Cardinality Categorical Attributes in Classification and Prediction
    Problems", SIGKDD Explorations 3 (1), 2001. The division into parts is that of scikit-learn's `TargetEncoder`.
    """
    wide = [column for column, size in enumerate(example.sizes) if size > settings.encode_above > 0]
    labels = np.asarray(example.train.labels[:, example.task])
    folds = min(_FOLDS, int(labels.sum()), len(labels) - int(labels.sum()))
    if not wide or folds < 2:
        return fit(example)
    from sklearn.model_selection import StratifiedKFold

    parts = StratifiedKFold(folds, shuffle=True, random_state=seed % _SEEDS)
    rates = _Rates(wide, settings.smoothing, example.train, labels, parts)
    left = [column for column in range(len(example.sizes)) if column not in wide]
    predictor = fit(
        Example(
            sizes=tuple(example.sizes[column] for column in left),
            train=rates.train,
            validation=rates(example.validation),
            task=example.task,
            fields=_positions([example.fields[column] for column in left] if example.fields else left),
        )
    )
    return _OnRates(predictor, rates, tuple(example.sizes[column] for column in wide))


@dataclass(frozen=True, slots=True)
class _OnRates:
    predictor: Predictor
    rates: _Rates
    sizes: tuple[int, ...]
    """Number of values of each wide column."""

    def __call__(self, rows: Split) -> NDArray[np.floating]:
        return self.predictor(self.rates(rows))

    def kept(self) -> KeptPredictor:
        return self.predictor.kept().on_rates(self.rates.wide, self.rates.tables(self.sizes))


def _positions(fields: Sequence[int]) -> tuple[int, ...]:
    """Return the position of each column's field among the fields that occur."""
    places = {field: place for place, field in enumerate(dict.fromkeys(fields))}
    return tuple(places[field] for field in fields)


class _Rates:
    """Rates of the values of wide fields, and the training rows with rates from outside each row's part."""

    def __init__(
        self, wide: Sequence[int], smoothing: float, rows: Split, labels: NDArray[np.uint8], parts: StratifiedKFold
    ) -> None:
        self.wide = wide
        self._smoothing = smoothing
        values = self._values(rows)
        outside = np.empty(values.shape)
        for others, part in parts.split(labels, labels):
            outside[part] = self._fit(values[others], labels[others]).transform(values[part])
        self._encoder = self._fit(values, labels)
        self._mean = outside.mean(axis=0)
        spread = outside.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        self.train = self._replace(rows, outside)

    def __call__(self, rows: Split) -> Split:
        """Return other rows with rates in the place of their wide fields."""
        return self._replace(rows, self._encoder.transform(self._values(rows)))

    def tables(self, sizes: Sequence[int]) -> Tables:
        """Return the rate of each value of each wide column, of which each has `sizes` values."""
        values = np.arange(max(sizes), dtype=np.int32)[:, None]
        rates = self._standardised(self._encoder.transform(np.repeat(values, len(sizes), axis=1)))
        return tuple(rates[:size, column].astype(np.float64) for column, size in enumerate(sizes))

    def _fit(self, values: NDArray[np.int32], labels: NDArray[np.uint8]) -> TargetEncoder:
        from sklearn.preprocessing import TargetEncoder

        return TargetEncoder(target_type="binary", smooth=self._smoothing or "auto").fit(values, labels)

    def _values(self, rows: Split) -> NDArray[np.int32]:
        return np.asarray(rows.categorical[:, self.wide])

    def _replace(self, rows: Split, rates: NDArray[np.float64]) -> Split:
        return replace(
            rows,
            categorical=np.delete(np.asarray(rows.categorical), self.wide, axis=1),
            numeric=np.concatenate([self._standardised(rates), rows.numeric], axis=1),
        )

    def _standardised(self, rates: NDArray[np.float64]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = ((rates - self._mean) / self._spread).astype(np.float32)
        return found
