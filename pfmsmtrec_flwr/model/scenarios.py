"""Rows of several scenarios in one batch: which row is of which, and where the embedded input says so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model.base import ModelSpec


@dataclass(frozen=True, slots=True)
class ScenarioOrder:
    """The rows of a batch in the order of their scenarios.

    Attributes
    ----------
    order
        Positions of the rows in the batch, those of the first scenario first, (B,) int64.
    counts
        Number of rows of each scenario.
    """

    order: Tensor
    counts: list[int]

    def restore(self, x: Tensor) -> Tensor:
        """Put the rows of ``x`` (B, ...), which are in the order of the scenarios, back to where they were."""
        return x[self.order.argsort()]


def order_by_scenario(categorical: Tensor, scenarios: int) -> ScenarioOrder:
    """Sort the rows of a batch by scenario.

    Parameters
    ----------
    categorical
        (B, F); the last column is the scenario's number, from 1 on.
    scenarios
        How many there are.

    Raises
    ------
    ValueError
        A number is not one of theirs.
    """
    numbers = categorical[:, -1]
    counts = torch.bincount(numbers, minlength=scenarios + 1).tolist()
    if counts[0] or len(counts) > scenarios + 1:
        raise ValueError(
            f"got scenario numbers from {int(numbers.min())} to {int(numbers.max())}, expected 1 to {scenarios}"
        )
    return ScenarioOrder(numbers.argsort(stable=True), counts[1:])


def require_scenarios(spec: ModelSpec, architecture: str) -> None:
    """Refuse a specification whose rows are of one scenario.

    Raises
    ------
    UserError
        It has no scenarios.
    """
    if not spec.scenarios:
        raise UserError(
            f"got rows of a single scenario, but model.architecture={architecture} is for pooled rows of several: "
            "choose a method that pools the scenarios, or another architecture"
        )


def scenario_columns(spec: ModelSpec, dim: int) -> slice:
    """Where the embedded input (B, D) holds the scenario's embedding; federated fields come first in it."""
    fields = spec.fields if not spec.fields[-1].federated else [field for field in spec.fields if field.federated]
    return slice((len(fields) - 1) * dim, len(fields) * dim)


def personal_columns(spec: ModelSpec, dim: int) -> slice:
    """Where the embedded input (B, D) holds the local fields' embeddings, the scenario's own aside; may be empty."""
    federated = sum(field.federated for field in spec.fields)
    local = sum(not field.federated for field in spec.fields[:-1])
    return slice(federated * dim, (federated + local) * dim)
