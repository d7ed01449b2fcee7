"""Rows of several scenarios in one batch: their order by scenario, and their columns in the embedded input.

Examples
--------
The last column is the number of the row's scenario.

>>> import torch
>>> from pfmsmtrec_flwr.model.scenarios import order_by_scenario
>>> rows = order_by_scenario(torch.tensor([[7, 2], [8, 1], [9, 2]]), scenarios=3)
>>> rows.counts
[1, 2, 0]
>>> rows.order.tolist()
[1, 0, 2]
>>> rows.restore(torch.tensor([8, 7, 9])).tolist()
[7, 8, 9]
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel


@dataclass(frozen=True, slots=True)
class ScenarioOrder:
    """Order of a batch's rows by scenario.

    Attributes
    ----------
    order
        Positions of the rows in the batch, with those of the first scenario first, (B,) int64; or a slice of all rows,
        if they are in this order.
    counts
        Number of rows of each scenario.
    """

    order: Tensor | slice
    counts: list[int]

    def restore(self, x: Tensor) -> Tensor:
        """Return the rows of ``x`` (B, ...), which are in the order of the scenarios, in the order of the batch."""
        return x if isinstance(self.order, slice) else x[self.order.argsort()]


class SortingModel(ScenarioModel):
    """Model whose layers take the rows of each scenario by themselves."""

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T).

        Raises
        ------
        ValueError
            The specification does not have a row's scenario.
        """
        return self.logits(order_by_scenario(categorical, self.spec.scenarios), categorical, numeric)

    @abstractmethod
    def logits(self, rows: ScenarioOrder, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T) of a batch whose order by scenario is known."""


class OneScenario(nn.Module):
    """A model for batches of one scenario, whose rows need no sorting.

    Parameters
    ----------
    model
        Model of several scenarios.
    number
        Number of the scenario of all rows, counted from 1.
    """

    def __init__(self, model: SortingModel, number: int) -> None:
        super().__init__()
        self.model = model
        self._number = number

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits (B, T)."""
        counts = [0] * self.model.spec.scenarios
        counts[self._number - 1] = categorical.shape[0]
        return self.model.logits(ScenarioOrder(slice(None), counts), categorical, numeric)


def order_by_scenario(categorical: Tensor, scenarios: int) -> ScenarioOrder:
    """Sort the rows of a batch by scenario.

    Parameters
    ----------
    categorical
        Values of the fields (B, C); the last column is the number of the scenario, counted from 1.
    scenarios
        Number of scenarios.

    Raises
    ------
    ValueError
        A row's number is not between 1 and the number of scenarios.
    """
    numbers = categorical[:, -1]
    counts = torch.bincount(numbers, minlength=scenarios + 1).tolist()
    if counts[0] or len(counts) > scenarios + 1:
        raise ValueError(
            f"got scenario numbers from {int(numbers.min())} to {int(numbers.max())}, expected 1 to {scenarios}"
        )
    return ScenarioOrder(numbers.argsort(stable=True), counts[1:])


def require_scenarios(spec: ModelSpec, architecture: str) -> None:
    """Refuse a specification whose rows come from a single scenario.

    Raises
    ------
    UserError
        The specification has no scenarios.
    """
    if not spec.scenarios:
        raise UserError(
            f"got rows of a single scenario, but model.architecture={architecture} is for pooled rows of several: "
            "choose a method that pools the scenarios, or another architecture"
        )


def scenario_columns(spec: ModelSpec, dim: int) -> slice:
    """Return the columns of the scenario's embedding in the embedded input (B, D); federated fields come first."""
    fields = spec.fields if not spec.fields[-1].federated else [field for field in spec.fields if field.federated]
    return slice((len(fields) - 1) * dim, len(fields) * dim)


def personal_columns(spec: ModelSpec, dim: int) -> slice:
    """Return the columns of the local fields in the embedded input (B, D), without the scenario's own; may be empty."""
    federated = sum(field.federated for field in spec.fields)
    local = sum(not field.federated for field in spec.fields[:-1])
    return slice(federated * dim, (federated + local) * dim)
