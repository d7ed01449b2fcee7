"""A scenario's copy of the tables that it shares: as received, with the rows that it sent back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.protocol import Incoming, Tensors
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import Part, Slot


class TablesLackError(UserError):
    """Changed rows came for a table of which the scenario has no copy, or another one."""


def with_whole_tables(incoming: Incoming, copies: Tensors, slots: Mapping[str, Slot], scenario: str) -> Incoming:
    """Return what came with a message as float32, with whole tables in place of changed rows.

    Parameters
    ----------
    incoming
        Parameters as they came.
    copies
        Copies of the tables that the last exchange left, by name; they become the whole tables in place.
    slots
        Part of the model to which each tensor belongs. Common tables that the model lacks are left out.
    scenario
        Name of the scenario.

    Raises
    ------
    TablesLackError
        A copy is missing, or is not the one to which the changed rows belong.
    """

    def whole(changes: Mapping[str, ChangedRows]) -> Tensors:
        tables = {}
        for name, change in changes.items():
            table = change.applied_to(copies.get(name))
            if table is None:
                raise TablesLackError(f"scenario {scenario} has no copy of {name} to which the changed rows belong")
            tables[name] = table
        return tables

    incoming = incoming.widened()
    common = {name: change for name, change in incoming.common_changes.items() if name in slots}
    own = incoming.personal.get(scenario, {}) | whole(incoming.personal_changes.get(scenario, {}))
    return replace(
        incoming,
        common=incoming.common | whole(common),
        personal=incoming.personal | {scenario: own},
        common_changes={},
        personal_changes={},
    )


def copies_after(
    incoming: Incoming, returned: Mapping[str, RowUpdate], copies: Tensors, slots: Mapping[str, Slot], scenario: str
) -> Tensors:
    """Return the copies of the tables as the server knows them after an exchange.

    Training may change rows that it does not use, by decay or by an optimiser's momentum. Those are not sent, so the
    copies do not have them.

    Parameters
    ----------
    incoming
        Received parameters, with whole tables.
    returned
        Rows that the scenario sends back, by table.
    copies
        Copies as `with_whole_tables` left them, which are changed in place. A table that came whole is not: it may be
        that of another scenario too.
    slots
        Part of the model to which each tensor belongs.
    scenario
        Name of the scenario.
    """
    received = incoming.common | incoming.personal.get(scenario, {})
    after = {name: received[name] for name in names_of(slots, [Part.FEDERATED_EMBEDDING]) if name in received}
    for name, update in returned.items():
        if name in after:
            own = after[name] if after[name] is copies.get(name) else after[name].clone()
            after[name] = own.index_copy_(0, update.rows, update.values)
    return after
