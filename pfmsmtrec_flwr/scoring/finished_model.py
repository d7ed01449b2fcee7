"""A scenario's model at the end of a run, its parameters aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.model import ModelSpec
from pfmsmtrec_flwr.training.calibration import Calibration
from pfmsmtrec_flwr.training.records import ModelKind


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
    kind
        Whether the model is a network.
    """

    selected_round: int
    spec: ModelSpec
    figures: Mapping[str, float]
    draws: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    calibration: Calibration | None = None
    travelled: tuple[str, ...] | None = None
    scenario_value: int = 0
    kind: ModelKind = "network"
