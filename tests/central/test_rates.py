from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from stores import split_of

from pfmsmtrec_flwr.central.floor import Example, Predictor
from pfmsmtrec_flwr.central.rates import RateSettings, fit_on_rates
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.scoring.floor_model import KeptPredictor, LinearPredictor
from pfmsmtrec_flwr.training.metrics import task_metrics

RATES = RateSettings(encode_above=10, smoothing=0.0)


@dataclass(frozen=True)
class Recorded:
    """Predictor that keeps the rows it is to predict."""

    predicted: list[Split]

    def __call__(self, rows: Split) -> np.ndarray:
        self.predicted.append(rows)
        return np.zeros(len(rows))

    def kept(self) -> KeptPredictor:
        return LinearPredictor.constant(0.0)


def encoded(example: Example, settings: RateSettings = RATES, seed: int = 0) -> tuple[Example, Split]:
    """Return the rows that a predictor is fitted on, and those that it predicts for the training rows."""
    seen: list[Example] = []
    predicted: list[Split] = []

    def fit(rows: Example) -> Predictor:
        seen.append(rows)
        return Recorded(predicted)

    fit_on_rates(example, settings, seed, fit)(example.train)
    return seen[0], predicted[0]


def drawn(values: int, rows: int = 400, seed: int = 0) -> Split:
    """Draw a narrow field, a wide one, and labels that follow neither."""
    generator = np.random.default_rng(seed)
    categorical = np.stack([generator.integers(0, 4, rows), generator.integers(0, values, rows)], axis=1)
    labels = generator.integers(0, 2, (rows, 1))
    return split_of(categorical.tolist(), labels.tolist(), numeric=generator.standard_normal((rows, 1)).tolist())


def test_a_training_rows_rate_does_not_contain_its_own_label() -> None:
    """Most values occur once or twice: with its own label, a row's rate would tell the label."""
    rows = drawn(400)
    out_of_fold, of_all = encoded(Example((4, 400), rows, rows, 0))
    labels = rows.labels[:, 0]
    own = task_metrics(labels, out_of_fold.train.numeric[:, 0].astype(float)).auc
    leaked = task_metrics(labels, of_all.numeric[:, 0].astype(float)).auc
    assert own is not None
    assert leaked is not None
    assert own < 0.6 < 0.8 < leaked


def test_labels_that_are_not_trained_on_change_nothing() -> None:
    rows, held = drawn(20), drawn(20, seed=1)
    flipped = replace(held, labels=1 - held.labels)
    one, other = (encoded(Example((4, 20), rows, split, 0))[0] for split in (held, flipped))
    assert np.array_equal(one.train.numeric, other.train.numeric)
    assert np.array_equal(one.validation.numeric, other.validation.numeric)


def test_rates_stand_before_the_numbers_and_narrow_fields_stay() -> None:
    rows = drawn(20)
    example, predicted = encoded(Example((4, 20), rows, rows, 0))
    assert example.sizes == (4,)
    for split in (example.train, example.validation, predicted):
        assert np.array_equal(split.categorical, rows.categorical[:, :1])
        assert np.array_equal(split.numeric[:, 1:], rows.numeric)
        assert split.numeric.dtype == np.float32
        assert np.array_equal(split.labels, rows.labels)
    assert example.train.numeric[:, 0].mean() == pytest.approx(0, abs=1e-5)
    assert example.train.numeric[:, 0].std() == pytest.approx(1, abs=1e-4)
    assert np.array_equal(example.validation.numeric, predicted.numeric)


def test_a_value_without_training_rows_has_the_mean_rate() -> None:
    values = [1] * 30 + [2] * 10
    rows = split_of([[value] for value in values], [[row % 3 == 0] for row in range(40)])
    held = split_of([[1], [2], [0], [19]])
    example, _ = encoded(Example((20,), rows, held, 0), RateSettings(10, 10.0))
    first, second, unseen, unknown = example.validation.numeric[:, 0].tolist()
    assert unseen == unknown
    assert min(first, second) < unseen < max(first, second)
    # (10 + 10 * 14 / 40) / 40, (4 + 3.5) / 20 and 14 / 40: the means, of which all are shifted and scaled alike
    assert (second - unseen) / (first - unseen) == pytest.approx((0.375 - 0.35) / (0.3375 - 0.35), rel=1e-4)


@pytest.mark.parametrize(("above", "wide"), [(0, False), (19, True), (20, False)])
def test_fields_with_more_values_than_set_are_wide(above: int, wide: bool) -> None:
    rows = drawn(20)
    example, _ = encoded(Example((4, 20), rows, rows, 0), RateSettings(above, 0.0))
    assert example.sizes == ((4,) if wide else (4, 20))


@pytest.mark.parametrize(("positives", "replaced"), [(1, False), (2, True), (39, False)])
def test_a_class_of_a_single_row_leaves_the_fields(positives: int, replaced: bool) -> None:
    rows = split_of([[row % 15] for row in range(40)], [[int(row < positives)] for row in range(40)])
    example, _ = encoded(Example((15,), rows, rows, 0))
    assert (example.sizes == ()) is replaced
    assert np.isfinite(example.train.numeric).all()


def test_columns_of_one_field_stay_together() -> None:
    """The first field has two wide columns, the second and the fourth have two narrow ones each."""
    generator = np.random.default_rng(0)
    sizes, fields = (30, 30, 5, 5, 30, 6, 6), (0, 0, 1, 1, 2, 3, 3)
    rows = split_of(generator.integers(0, sizes, (200, 7)).tolist(), generator.integers(0, 2, (200, 1)).tolist())
    example, _ = encoded(Example(sizes, rows, rows, 0, fields))
    assert example.sizes == (5, 5, 6, 6)
    assert example.fields == (0, 0, 1, 1)
    assert np.array_equal(example.train.categorical, rows.categorical[:, [2, 3, 5, 6]])
    assert example.train.numeric.shape == (200, 3)


def test_the_seed_divides_the_rows() -> None:
    rows = drawn(20)
    one, again, other = (encoded(Example((4, 20), rows, rows, 0), seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(one.train.numeric, again.train.numeric)
    assert not np.array_equal(one.train.numeric, other.train.numeric)
