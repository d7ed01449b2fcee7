"""A scenario's model at the end of a run, and what is written beside its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.model import ModelSpec
from pfmsmtrec_flwr.scoring.model_card import CARD_NAME, CardContent, model_card
from pfmsmtrec_flwr.scoring.saved_model import ModelDescription, complete_description
from pfmsmtrec_flwr.training.calibration import Calibration


@dataclass(frozen=True, slots=True)
class FinishedModel:
    """Model of a scenario's chosen round, its parameters aside.

    Attributes
    ----------
    selected_round
        Number of the chosen round.
    spec
        Inputs and tasks.
    figures
        Test figures, from ``metric.task`` to value.
    draws
        Test AUC in each draw of users (B,), by task; empty where no users are drawn.
    calibration
        Calibration of the predictions; None if the run does not calibrate.
    travelled
        Names of the parts of the model that went to the server; None if the method trained on the rows of all
        scenarios in one place.
    scenario_value
        Value of the scenario's field in a model of pooled rows; 0: no such field.
    """

    selected_round: int
    spec: ModelSpec
    figures: Mapping[str, float]
    draws: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    calibration: Calibration | None = None
    travelled: tuple[str, ...] | None = None
    scenario_value: int = 0


def complete_folder(model: FinishedModel, store: ScenarioStore, config: RunConfig, folder: Path) -> str:
    """Put encoders, calibration and model card beside a model's parameters, and return the text of its description.

    Parameters
    ----------
    model
        Finished model.
    store
        Prepared data on which it was trained.
    config
        Configuration under which its method ran.
    folder
        Folder that holds its parameters.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    description = ModelDescription(
        scenario=store.scenario,
        dataset=store.dataset,
        method=config.method,
        seed=config.seed,
        selected_round=model.selected_round,
        spec=model.spec,
        settings=config.model,
        scenario_value=model.scenario_value,
    )
    description = complete_description(description, store, model.calibration, folder)
    content = CardContent(description, store, config, model.figures, model.draws, model.calibration, model.travelled)
    (folder / CARD_NAME).write_text(model_card(content, folder), encoding="utf-8")
    return description.to_json()
