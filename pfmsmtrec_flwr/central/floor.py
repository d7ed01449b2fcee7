"""Predictors without a network, one for each task, fitted on each scenario's rows or on the pooled rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pfmsmtrec_flwr.central.outcome import check_rows, result_of, validation_of
from pfmsmtrec_flwr.central.pool import pool_rows
from pfmsmtrec_flwr.central.scenario_share import share_spec
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import ModelSpec
from pfmsmtrec_flwr.scoring.floor_model import FloorModel, KeptPredictor, LinearPredictor
from pfmsmtrec_flwr.training.description import model_spec, training_rows
from pfmsmtrec_flwr.training.evaluation import Predictions
from pfmsmtrec_flwr.training.records import CentralModel, RoundCallback, RoundRecord, TrainingResult


class Predictor(Protocol):
    """Fitted predictor of one task."""

    def __call__(self, rows: Split) -> NDArray[np.floating]:
        """Return the probabilities (n,) for the rows of a split."""

    def kept(self) -> KeptPredictor:
        """Return the predictor in the form in which it is saved."""


@dataclass(frozen=True, slots=True)
class Example:
    """Rows that a predictor of one task is fitted on.

    Attributes
    ----------
    sizes
        Number of values of each categorical column, including 0, which stands for unseen values and for padding.
    train, validation
        Training rows and validation rows that have a label of the task.
    task
        Column of the task in the labels.
    fields
        Position of the field of each categorical column, as a field of several values has several columns; empty: each
        column is a field.
    """

    sizes: tuple[int, ...]
    train: Split
    validation: Split
    task: int
    fields: tuple[int, ...] = ()

    @property
    def rate(self) -> float:
        """Share of positive training rows."""
        return float(np.mean(self.train.labels[:, self.task], dtype=np.float64))


Fit = Callable[[RunConfig, Example], Predictor]
"""Function that fits a predictor; both classes occur in the training rows."""


def fit_rate(config: RunConfig, example: Example) -> Predictor:  # noqa: ARG001 - nothing to set
    """Return a predictor of the training rows' positive rate for every row."""
    return _Rate(example.rate)


@dataclass(frozen=True, slots=True)
class _Rate:
    rate: float

    def __call__(self, rows: Split) -> NDArray[np.floating]:
        return np.full(len(rows), self.rate)

    def kept(self) -> LinearPredictor:
        return LinearPredictor.constant(self.rate)


def train_floor(
    config: RunConfig,
    stores: Sequence[ScenarioStore],
    on_round: RoundCallback | None = None,
    *,
    fit: Fit,
    pooled: bool = False,
) -> TrainingResult:
    """Fit a predictor for each task, and measure it in each scenario, as a single round.

    A task whose training labels are all alike is predicted by its rate.

    Parameters
    ----------
    config
        Configuration of the run.
    stores
        Prepared data of the scenarios.
    on_round
        Function that is called once, with the record of the round.
    fit
        Function that fits one predictor.
    pooled
        Whether to fit the predictors on the rows of all scenarios, with the scenario as one more field.

    Raises
    ------
    UserError
        A scenario has no rows, none of its training rows has a label of a task, or the scenarios cannot be pooled.
    """
    started = time.perf_counter()
    check_rows(stores)
    record = RoundRecord(1)
    validation: dict[str, Predictions] = {}
    test: dict[str, Predictions] = {}
    models: dict[str, CentralModel] = {}
    with threadpool_limits(limits=config.train.threads):
        for group in _pooled(stores, config) if pooled else _alone(stores, config):
            predictors = [_fit(fit, config, group, task) for task in range(len(group.spec.tasks))]
            for name, rows in group.validation_rows.items():
                validation[name] = Predictions.of(_predict(predictors, rows))
                record.validation[name] = validation_of(validation[name].probabilities, rows, group.spec.tasks)
            test |= {name: Predictions.of(_predict(predictors, rows)) for name, rows in group.test_rows.items()}
            models |= {name: _model(predictors, group, name) for name in group.test_rows}
    record.train_seconds = time.perf_counter() - started
    if on_round is not None:
        on_round(record)
    result = result_of(stores, config, [record], dict.fromkeys(test, 1), validation, test)
    result.models = models
    result.seconds = time.perf_counter() - started
    return result


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows that share their predictors, and the scenarios in which the predictors are measured."""

    spec: ModelSpec
    train: Split
    validation: Split
    validation_rows: Mapping[str, Split]
    test_rows: Mapping[str, Split]
    table_rows: Mapping[str, Sequence[Array]] = field(default_factory=dict)
    """For each scenario and field of pooled rows, the pool's numbers of the scenario's own values."""


def _alone(stores: Sequence[ScenarioStore], config: RunConfig) -> Iterator[_Group]:
    for store in stores:
        yield _Group(
            spec=model_spec(store),
            train=training_rows(store, config),
            validation=store.splits["validation"],
            validation_rows={store.scenario: store.splits["validation"]},
            test_rows={store.scenario: store.splits["test"]},
        )


def _pooled(stores: Sequence[ScenarioStore], config: RunConfig) -> Iterator[_Group]:
    pool = pool_rows(stores, config)
    yield _Group(
        spec=pool.spec,
        train=pool.splits["train"],
        validation=pool.splits["validation"],
        validation_rows={store.scenario: pool.of("validation", store.scenario) for store in stores},
        test_rows={store.scenario: pool.of("test", store.scenario) for store in stores},
        table_rows=pool.table_rows,
    )


def _fit(fit: Fit, config: RunConfig, group: _Group, task: int) -> Predictor:
    fields = tuple(place for place, each in enumerate(group.spec.fields) for _ in range(each.most))
    sizes = tuple(group.spec.fields[place].rows for place in fields)
    train, validation = group.train.for_task(task), group.validation.for_task(task)
    if not len(train):
        raise UserError(
            f"no training row that the run uses has a label of the task '{group.spec.tasks[task]}': "
            "raise data.train_fraction, or leave the scenario out"
        )
    example = Example(sizes, train, validation, task, fields)
    return (fit if 0 < example.rate < 1 else fit_rate)(config, example)


def _predict(predictors: Sequence[Predictor], rows: Split) -> NDArray[np.float32]:
    return np.stack([predictor(rows) for predictor in predictors], axis=1).astype(np.float32)


def _model(predictors: Sequence[Predictor], group: _Group, scenario: str) -> CentralModel:
    """Return what scores a scenario's rows, whose values are those of its own vocabularies."""
    kept = tuple(predictor.kept() for predictor in predictors)
    own = group.table_rows.get(scenario)
    if own is None:
        return CentralModel(group.spec, FloorModel(group.spec, kept).tensors(), kind="floor")
    spec = share_spec(group.spec, own)
    columns = [rows for rows, each in zip(own, spec.fields, strict=True) for _ in range(each.most)]
    share = FloorModel(spec, tuple(predictor.of_values(columns) for predictor in kept))
    number = list(group.table_rows).index(scenario) + 1
    return CentralModel(spec, share.tensors(), number, "floor")
