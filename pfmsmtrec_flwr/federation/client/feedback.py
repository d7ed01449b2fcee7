"""A scenario's update in low precision, and its memory of what rounding has lost.

What was lost is added to the next update. It belongs to the last update that counted at the server: where the one after
it was refused, or lost on the way, the memory goes back to what that one found. Noise is added before, so whatever is
rounded or remembered here has it (privacy.noise).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.changes import Changes, CodedRows
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, Tensors
from pfmsmtrec_flwr.federation.rounding import rounded_with_feedback

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.client.client import ScenarioClient

ROUNDING = "rounding"
"""Scope of the memory with what rounding has lost."""
_BEFORE = "before"
_ROWS = "rows"
_VALUES = "values"
_EXCHANGE = "exchange"
_FINGERPRINT = "fingerprint"


@dataclass(frozen=True, slots=True)
class LostRows:
    """What was lost of the rows of a table; nothing of other rows.

    Attributes
    ----------
    rows
        Row numbers, ascending, (n,) int64.
    values
        What was lost (n, d).
    """

    rows: Tensor
    values: Tensor

    def at(self, rows: Tensor) -> Tensor:
        """Return what was lost of some rows (m,), as (m, d)."""
        if not len(self.rows):
            return self.values.new_zeros(len(rows), self.values.shape[1])
        places = torch.searchsorted(self.rows, rows).clamp(max=len(self.rows) - 1)
        return torch.where((self.rows[places] == rows).unsqueeze(1), self.values[places], 0.0)

    def replaced_by(self, other: LostRows) -> LostRows:
        """Return these rows and the other ones, which precede."""
        kept = ~torch.isin(self.rows, other.rows)
        rows, order = torch.cat([self.rows[kept], other.rows]).sort()
        return LostRows(rows, torch.cat([self.values[kept], other.values])[order])


@dataclass(frozen=True, slots=True)
class Lost:
    """What was lost of a scenario's updates, by name of the tensor or table."""

    parameters: Tensors = field(default_factory=dict)
    rows: dict[str, LostRows] = field(default_factory=dict)

    def replaced_by(self, other: Lost) -> Lost:
        """Return what was lost with that of another rounding in its place, where there is some."""
        rows = {
            name: self.rows[name].replaced_by(own) if name in self.rows else own for name, own in other.rows.items()
        }
        return Lost(self.parameters | other.parameters, self.rows | rows)

    def to_memory(self) -> ClientMemory:
        """Return a memory of it."""
        numbers = ClientMemory(model={name: own.rows.int() for name, own in self.rows.items()})
        values = ClientMemory(model={name: own.values for name, own in self.rows.items()})
        return ClientMemory(model=self.parameters, scopes={_ROWS: numbers, _VALUES: values})

    @classmethod
    def from_memory(cls, memory: ClientMemory) -> Lost:
        """Read what `to_memory` made."""
        numbers, values = memory.scope(_ROWS).model, memory.scope(_VALUES).model
        rows = {name: LostRows(numbers[name].long(), own) for name, own in values.items()}
        return cls(memory.model, rows)


@dataclass(frozen=True, slots=True)
class RoundedReply:
    """Reply as it leaves.

    Attributes
    ----------
    reply
        Reply.
    rows
        Rows of the tables as they are after the update, for the scenario's copies; in low precision of its own tables
        alone.
    memory
        What the scenario remembers of it, under the scope `ROUNDING`; empty in full precision.
    """

    reply: Reply
    rows: Mapping[str, RowUpdate]
    memory: ClientMemory = field(default_factory=ClientMemory)


def rounded_reply(
    client: ScenarioClient, order: Order, incoming: Incoming, reply: Reply, memory: ClientMemory
) -> RoundedReply:
    """Return a reply in the precision of the run, with rows of tables numbered as the server does.

    Normalization statistics and counters keep their precision.

    Parameters
    ----------
    client
        Scenario that replies.
    order
        Order to train.
    incoming
        Values that came, with tables as the model holds them.
    reply
        Reply with values after training, with rows numbered as in the model.
    memory
        Memory that the last exchange left.

    Raises
    ------
    UserError
        The server asks for a tensor that it has not sent.
    """
    precision, scenario = client.config.federation.precision, client.store.scenario
    if precision == "full":
        sent = {name: replace(own, rows=client.used.numbers(name, own.rows)) for name, own in reply.rows.items()}
        return RoundedReply(replace(reply, rows=sent), sent)
    came = incoming.common | incoming.personal.get(scenario, {})
    if missing := sorted((reply.parameters.keys() | reply.rows.keys()) - came.keys()):
        raise UserError(f"scenario {scenario}: {missing[:3]} did not come, so there is no change of it to send")
    before, found, now = _remembered(memory, order.counted.get(scenario, 0)), Lost(), Lost()
    exact: Tensors = {}
    changes, after = Changes(), {}
    for name, value in reply.parameters.items():
        if client.slots[name].statistic:
            exact[name] = value
            continue
        change = value.detach().cpu() - came[name]
        found.parameters[name] = before.parameters.get(name, torch.zeros_like(change))
        changes.parameters[name], now.parameters[name] = rounded_with_feedback(
            change, found.parameters[name], precision
        )
    for name, update in reply.rows.items():
        start, rows = came[name][update.rows], update.rows
        change, numbers = update.values - start, client.used.numbers(name, rows)
        known = before.rows.get(name, LostRows(rows[:0], change[:0])).at(rows)
        coded, lost = rounded_with_feedback(change, known, precision)
        changes.rows[name] = CodedRows(numbers, coded, update.counts)
        after[name] = RowUpdate(numbers, start + coded.decoded(), update.counts)
        found.rows[name], now.rows[name] = LostRows(rows, known), LostRows(rows, lost)
    kept = replace(
        before.replaced_by(now).to_memory(),
        figures={_EXCHANGE: order.exchange, _FINGERPRINT: changes.fingerprint()},
    ).with_scope(_BEFORE, found.to_memory())
    copies = {name: update for name, update in after.items() if name not in incoming.common}
    return RoundedReply(replace(reply, parameters=exact, rows={}, changes=changes), copies, kept)


def known_copies(client: ScenarioClient, order: Order, memory: ClientMemory) -> Mapping[str, TableCopy]:
    """Return the copies of the tables, if they are those that the server means; none otherwise.

    In full precision changed rows say themselves to which copy they belong.
    """
    if client.config.federation.precision == "full":
        return memory.tables
    made_by = memory.scope(ROUNDING).figures.get(_FINGERPRINT)
    return memory.tables if order.copies.get(client.store.scenario) == made_by else {}


def _remembered(memory: ClientMemory, counted: int) -> Lost:
    """Return what the last update that counted has lost."""
    own = memory.scope(ROUNDING)
    lost = Lost.from_memory(own)
    if own.figures.get(_EXCHANGE, 0) == counted:
        return lost
    return lost.replaced_by(Lost.from_memory(own.scope(_BEFORE)))
