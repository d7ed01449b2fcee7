"""What a federated training came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flwr.serverapp.strategy import Result

from pfmsmtrec_flwr.federation.handshake import Description


@dataclass(frozen=True, slots=True)
class TaskValidation:
    """Validation figures of one task in one scenario; the AUC is None over one class."""

    auc: float | None
    logloss: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """How far the scenarios' updates of a round disagree.

    Attributes
    ----------
    scenarios
        In the order of the axes of `cosines`; empty where there are too many of them.
    mean
        Of each expert: mean cosine between the updates of two scenarios.
    cosines
        (E, K, K); empty where there are too many scenarios.
    """

    scenarios: Sequence[str]
    mean: Sequence[float]
    cosines: Sequence[Sequence[Sequence[float]]]


@dataclass(slots=True)
class RoundRecord:
    """One round.

    Attributes
    ----------
    round
        From 1 on.
    losses
        Mean training loss over the tasks, by scenario.
    validation
        Figures of the round's aggregated parameters, by scenario and task.
    up_bytes, down_bytes
        Size of the arrays sent.
    train_seconds
        Waiting for the scenarios.
    aggregate_seconds
        The server's own computation.
    shares
        What the method tells of itself, by scenario, such as the mean α over experts.
    gates
        How much each task takes of each expert, by scenario and task: the gates' mean over validation rows.
    conflict
        Of the updates that made the round's parameters; None where the method does not look at it.
    """

    round: int
    losses: dict[str, float] = field(default_factory=dict)
    validation: dict[str, dict[str, TaskValidation]] = field(default_factory=dict)
    up_bytes: int = 0
    down_bytes: int = 0
    train_seconds: float = 0.0
    aggregate_seconds: float = 0.0
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    gates: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    conflict: Conflict | None = None

    def score(self, scenario: str) -> float | None:
        """Mean validation AUC over the scenario's tasks in which it is defined."""
        defined = [task.auc for task in self.validation[scenario].values() if task.auc is not None]
        return sum(defined) / len(defined) if defined else None


@dataclass(repr=False)
class FederationResult(Result):
    """Flower's result, and what this project adds to it.

    Attributes
    ----------
    rounds
        One record per round whose parameters were measured.
    selected
        The round that counts, by scenario.
    test
        Test figures by scenario: ``metric.task`` to value.
    consensus
        The same of the scenarios' consensus, if that was to be measured.
    best
        The same of the true probabilities, where the data have them.
    scenarios
        Who took part.
    seconds
        The whole training.
    """

    rounds: list[RoundRecord] = field(default_factory=list)
    selected: dict[str, int] = field(default_factory=dict)
    test: dict[str, dict[str, float]] = field(default_factory=dict)
    consensus: dict[str, dict[str, float]] = field(default_factory=dict)
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    scenarios: Mapping[str, Description] = field(default_factory=dict)
    seconds: float = 0.0
