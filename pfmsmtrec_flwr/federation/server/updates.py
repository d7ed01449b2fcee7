"""What the scenarios sent back, beside what they had been sent, ready to be aggregated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.model import Slot


@dataclass(frozen=True, slots=True)
class ScenarioUpdate:
    """One scenario's training in one exchange.

    Attributes
    ----------
    scenario
        Its name.
    examples
        Training rows that it saw.
    start
        Parameters that it was sent.
    end
        Their values after training.
    rows
        Touched rows of federated embedding tables.
    slots
        Which parameter is which part of its model.
    """

    scenario: str
    examples: int
    start: Tensors
    end: Tensors
    rows: dict[str, RowUpdate]
    slots: dict[str, Slot]


@dataclass(slots=True)
class Parameters:
    """The federated parameters as the server holds them.

    Attributes
    ----------
    common
        The same for all scenarios, by name.
    personal
        Each scenario's own, by scenario and name.
    """

    common: Tensors = field(default_factory=dict)
    personal: dict[str, Tensors] = field(default_factory=dict)

    def of(self, scenario: str) -> Tensors:
        """Return all that a scenario gets."""
        return self.common | self.personal.get(scenario, {})


def stack(updates: Sequence[ScenarioUpdate], name: str) -> Tensor:
    """Return one tensor of all given scenarios after training, (K, ...)."""
    return torch.stack([update.end[name] for update in updates])
