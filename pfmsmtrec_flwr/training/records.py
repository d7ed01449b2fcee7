"""Records of a training: one for each round, and the result of all of them.

Examples
--------
>>> record = RoundRecord(3)
>>> record.validation["NL"] = {"ctr": TaskValidation(0.7, 0.2), "ctcvr": TaskValidation(0.8, 0.1)}
>>> record.score("NL")
0.75
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pfmsmtrec_flwr.model import ModelSpec
from pfmsmtrec_flwr.training.calibration import Calibration
from pfmsmtrec_flwr.training.description import Description


@dataclass(frozen=True, slots=True)
class TaskValidation:
    """Validation metrics of one task in one scenario; the AUC is None over one class."""

    auc: float | None
    logloss: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """Disagreement between the scenarios' updates of a round.

    Attributes
    ----------
    scenarios
        Scenarios in the order of the axes of `cosines`; empty where there are too many to log pairs.
    mean
        Mean cosine between the updates of two scenarios, for each expert (E,).
    cosines
        Cosines between the updates (E, K, K); empty where there are too many scenarios.
    """

    scenarios: Sequence[str]
    mean: Sequence[float]
    cosines: Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Attention:
    """Weights with which the scenarios attend to each other's tower updates of one task in a round.

    Attributes
    ----------
    scenarios
        Scenarios that have the task, in the order of the axes of `weights`.
    weights
        Weight of each scenario's update in each scenario's mixture, mean over the tower's layers (K, K); each row sums
        to one.
    """

    scenarios: Sequence[str]
    weights: Sequence[Sequence[float]]


@dataclass(slots=True)
class RoundRecord:
    """Record of one round.

    Attributes
    ----------
    round
        Number of the round, from 1.
    losses
        Mean training loss over the tasks, by scenario.
    validation
        Metrics of the round's aggregated parameters, by scenario and task.
    missing
        Scenarios that take part and have no update in the round.
    unmeasured
        Scenarios that take part and have not measured the round's parameters.
    up_bytes, down_bytes
        Size of the arrays that the clients sent, and that were sent to them.
    releases
        Number of exchanges in which each scenario sent an update.
    train_seconds
        Time spent waiting for the scenarios.
    aggregate_seconds
        Time of the server's own computation.
    shares
        Values that the method learned, by scenario and name, such as the mean α over experts.
    gates
        Mean of the gates over validation rows, by scenario and task: the share of each expert (E,).
    conflict
        Disagreement between the updates that made the round's parameters; None where the method does not measure it.
    attention
        Attention between the updates of the towers, by task; empty where the method has none.
    elapsed
        Seconds from the start of the training to the end of the round, those of a broken-off run included; None where
        they are not measured.
    """

    round: int
    losses: dict[str, float] = field(default_factory=dict)
    validation: dict[str, dict[str, TaskValidation]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    unmeasured: set[str] = field(default_factory=set)
    up_bytes: int = 0
    down_bytes: int = 0
    releases: int = 0
    train_seconds: float = 0.0
    aggregate_seconds: float = 0.0
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    gates: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    conflict: Conflict | None = None
    attention: dict[str, Attention] = field(default_factory=dict)
    elapsed: float | None = None

    def score(self, scenario: str) -> float | None:
        """Return the mean validation AUC over the scenario's tasks in which it is defined."""
        defined = [task.auc for task in self.validation[scenario].values() if task.auc is not None]
        return sum(defined) / len(defined) if defined else None

    def loss(self, scenario: str) -> float:
        """Return the mean validation log loss over the scenario's tasks."""
        losses = [task.logloss for task in self.validation[scenario].values()]
        return sum(losses) / len(losses)

    def add_cost(self, other: RoundRecord) -> None:
        """Add the traffic, the updates and the waiting time of a round that was begun and is not used."""
        self.up_bytes += other.up_bytes
        self.down_bytes += other.down_bytes
        self.releases += other.releases
        self.train_seconds += other.train_seconds


ModelKind = Literal["network", "floor"]
"""Kind of a saved model: a network, or predictors without one."""


@dataclass(frozen=True, slots=True)
class CentralModel:
    """A scenario's model of a central training, or its share of a model that was trained on pooled rows.

    Attributes
    ----------
    spec
        Inputs and tasks; the last field of a model of pooled rows is the scenario.
    tensors
        State of the model, by name.
    scenario_value
        Value of the scenario's field; 0: no such field.
    kind
        What the tensors are the state of.
    """

    spec: ModelSpec
    tensors: Mapping[str, Tensor]
    scenario_value: int = 0
    kind: ModelKind = "network"


RoundCallback = Callable[[RoundRecord], None]
"""Function that is called once per round, as soon as the round's parameters were measured."""


@dataclass
class TrainingResult:
    """Result of a training.

    Attributes
    ----------
    rounds
        Records of the rounds whose parameters were measured.
    selected
        Selected round of each scenario.
    test
        Test metrics by scenario, from ``metric.task`` to value.
    consensus
        The same metrics of the scenarios' consensus, if it was measured.
    best
        The same metrics of the true probabilities, where the data have them.
    scenarios
        Descriptions of the scenarios that took part.
    absent
        Reason by name why a scenario that should have taken part did not.
    calibrations
        Calibration of each scenario's predictions; empty where the scenarios keep them, or the run does not calibrate.
    models
        Model of each scenario; empty where the scenarios keep them, or the method has no network.
    predictions
        Predicted probabilities of test rows (n, T) by scenario; empty where the scenarios keep them.
    draws
        Test AUC in each draw of users (B,), by scenario and task; empty where no users are drawn.
    seconds
        Time of the whole training.
    """

    rounds: list[RoundRecord] = field(default_factory=list)
    selected: dict[str, int] = field(default_factory=dict)
    test: dict[str, dict[str, float]] = field(default_factory=dict)
    consensus: dict[str, dict[str, float]] = field(default_factory=dict)
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    scenarios: Mapping[str, Description] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    models: dict[str, CentralModel] = field(default_factory=dict)
    predictions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    draws: dict[str, Mapping[str, NDArray[np.float32]]] = field(default_factory=dict)
    seconds: float = 0.0
