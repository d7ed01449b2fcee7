"""Result of a federated training, in Flower's form."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.serverapp.strategy import Result

from pfmsmtrec_flwr.training.records import TrainingResult


@dataclass(repr=False)
class FederationResult(TrainingResult, Result):
    """Flower's result together with this project's own."""
