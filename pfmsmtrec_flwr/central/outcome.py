"""The outcome of a central training, in the same form as a federation's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.training.calibration import fit_calibration
from pfmsmtrec_flwr.training.description import describe
from pfmsmtrec_flwr.training.evaluation import Predictions, measure
from pfmsmtrec_flwr.training.metrics import flat_figures
from pfmsmtrec_flwr.training.records import RoundRecord, TaskValidation, TrainingResult


def check_rows(stores: Sequence[ScenarioStore]) -> None:
    """Refuse scenarios that cannot be trained or measured.

    Raises
    ------
    UserError
        There is no scenario, or a scenario has a split without rows.
    """
    if not stores:
        raise UserError("got no scenario, expected at least one: name them in federation.scenarios")
    for store in stores:
        if empty := sorted(name for name, split in store.splits.items() if len(split) == 0):
            raise UserError(
                f"scenario {store.scenario} has no rows for {', '.join(empty)}: "
                "leave it out of federation.scenarios, or prepare its data with another split"
            )


def validation_of(probabilities: NDArray[np.float32], split: Split, tasks: Sequence[str]) -> dict[str, TaskValidation]:
    """Return the metrics of predictions (n, T) on a scenario's validation rows, by task."""
    measured = measure(probabilities, split, tasks)
    return {task: TaskValidation(metrics.auc, metrics.logloss) for task, metrics in measured.items()}


def result_of(
    stores: Sequence[ScenarioStore],
    config: RunConfig,
    rounds: Sequence[RoundRecord],
    selected: Mapping[str, int],
    validation: Mapping[str, Predictions],
    test: Mapping[str, Predictions],
) -> TrainingResult:
    """Calibrate on validation rows, measure test rows, and return the result, in which the caller sets the seconds.

    Parameters
    ----------
    stores
        Prepared data of the scenarios.
    config
        Configuration of the run.
    rounds
        Records of the rounds.
    selected
        Selected round of each scenario.
    validation, test
        Predictions for the validation rows and for the test rows of each scenario.
    """
    result = TrainingResult()
    result.rounds = list(rounds)
    result.selected = dict(selected)
    ordered = sorted(stores, key=lambda store: store.scenario)
    result.scenarios = {store.scenario: describe(store, config) for store in ordered}
    result.predictions = {name: predictions.probabilities for name, predictions in test.items()}
    for store in ordered:
        name, rows = store.scenario, store.splits["test"]
        result.test[name] = flat_figures(measure(test[name].probabilities, rows, store.tasks, grouped=True))
        kind, held_out = config.evaluation.calibration, store.splits["validation"]
        calibration = fit_calibration(kind, validation[name], held_out, store.tasks)
        if calibration is not None:
            result.calibrations[name] = calibration
            result.test[name] |= calibration.figures(test[name], rows, store.tasks)
        result.best[name] = (
            {}
            if rows.probabilities is None
            else flat_figures(measure(np.asarray(rows.probabilities), rows, store.tasks))
        )
    return result
