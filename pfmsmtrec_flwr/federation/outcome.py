"""What a federated training came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.serverapp.strategy import Result

from pfmsmtrec_flwr.federation.handshake import Description


@dataclass(frozen=True, slots=True)
class TaskValidation:
    """Validation figures of one task in one scenario; the AUC is None over one class."""

    auc: float | None
    logloss: float


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
    """

    round: int
    losses: dict[str, float] = field(default_factory=dict)
    validation: dict[str, dict[str, TaskValidation]] = field(default_factory=dict)
    up_bytes: int = 0
    down_bytes: int = 0
    train_seconds: float = 0.0
    aggregate_seconds: float = 0.0
    shares: dict[str, dict[str, float]] = field(default_factory=dict)

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
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    scenarios: Mapping[str, Description] = field(default_factory=dict)
    seconds: float = 0.0
