"""The scenarios' updates: what each was sent and what it sent back, ready to be aggregated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.federation.protocol import Reply, Tensors
from pfmsmtrec_flwr.federation.server.parameters import Parameters
from pfmsmtrec_flwr.model import Slot


@dataclass(frozen=True, slots=True)
class ScenarioUpdate:
    """One scenario's training in one exchange.

    Attributes
    ----------
    scenario
        Name of the scenario.
    examples
        Number of training rows that it saw.
    start
        Parameters that it was sent. A table of its own is made each time that it is asked for; `rows_of_table` gives
        some of its rows.
    end
        Values of these parameters after training.
    rows
        Touched rows of federated embedding tables.
    slots
        Part of its model that each tensor belongs to.
    fingerprint
        Checksum of the changes in low precision; 0 in full precision.
    """

    scenario: str
    examples: int
    start: Mapping[str, Tensor]
    end: Tensors
    rows: dict[str, RowUpdate]
    slots: dict[str, Slot]
    fingerprint: int = 0


def update_of(scenario: str, reply: Reply, parameters: Parameters) -> ScenarioUpdate:
    """Return the update in a reply of a scenario that was sent the present parameters.

    Changes in low precision are added to the parameters as they are here, not as they were rounded for the way down:
    what is too small for that is not lost.
    """
    sent, slots = parameters.of(scenario), parameters.slots[scenario]
    ends, rows = reply.changes.added_to(sent)
    return ScenarioUpdate(
        scenario,
        int(reply.figures["examples"]),
        sent,
        reply.parameters | ends,
        reply.rows | rows,
        slots,
        reply.changes.fingerprint(),
    )


def stack(updates: Sequence[ScenarioUpdate], name: str) -> Tensor:
    """Return one tensor of all scenarios after training, (K, ...)."""
    return torch.stack([update.end[name] for update in updates])
