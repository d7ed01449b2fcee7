"""Tables of a message: changed rows become a scenario's copy of the table, and the copy what its model holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.client.used_rows import UsedRows
from pfmsmtrec_flwr.federation.protocol import Incoming, Tensors, check_tensors, refuse_not_finite


class TablesLackError(UserError):
    """Changed rows came for a table of which the scenario has no copy, or another one."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came with a message.

    Attributes
    ----------
    incoming
        Parameters as float32, with tables as the scenario's model holds them and no changed rows.
    copies
        Copies of the tables as they came, by name, and of one that does not travel as it was drawn.
    drawn
        The table that does not travel as the model holds it at first, by name.
    """

    incoming: Incoming
    copies: dict[str, TableCopy]
    drawn: Tensors = field(default_factory=dict)


def received_tables(
    incoming: Incoming, copies: Mapping[str, TableCopy], forms: Mapping[str, Tensor], used: UsedRows
) -> Received:
    """Return what came with a message, with tables in place of changed rows.

    Parameters
    ----------
    incoming
        Parameters as they came.
    copies
        Copies of the tables that the last exchange left, by name.
    forms
        Shape and type of each whole table of the model, by name. Common tables that it lacks are left out.
    used
        Rows that the scenario's model holds.

    Raises
    ------
    TablesLackError
        A copy is missing, or is not the one to which the changed rows belong.
    UserError
        Changed rows are not finite, or a whole table does not fit the scenario's.
    """
    incoming, scenario = incoming.widened(), used.whole.scenario
    found: dict[str, TableCopy] = {}

    def held(whole: Tensors, changes: Mapping[str, ChangedRows]) -> Tensors:
        tables = {name: whole[name] for name in forms if name in whole}
        check_tensors(tables, {name: forms[name] for name in tables}, f"scenario {scenario}")
        came = {name: TableCopy.of(table) for name, table in tables.items()}
        for name, change in changes.items():
            if name not in forms:
                continue
            copy = copies[name].changed(change) if name in copies else None
            if copy is None:
                raise TablesLackError(f"scenario {scenario} has no copy of {name} to which the changed rows belong")
            refuse_not_finite({name: change.values}, f"scenario {scenario}")
            came[name] = copy
        found.update(came)
        return whole | {name: used.part(name, copy) for name, copy in came.items()}

    common = held(incoming.common, incoming.common_changes)
    own = held(incoming.personal.get(scenario, {}), incoming.personal_changes.get(scenario, {}))
    return Received(Incoming(common, incoming.personal | {scenario: own}), found)


def copies_after(copies: Mapping[str, TableCopy], returned: Mapping[str, RowUpdate]) -> dict[str, TableCopy]:
    """Return the copies of the tables as the server knows them after an exchange.

    Training may change rows that it does not use, by decay or by an optimiser's momentum. Those are not sent, so the
    copies do not have them.

    Parameters
    ----------
    copies
        Copies as they came, by name.
    returned
        Rows that the scenario sends back, numbered as the server does, by table.
    """
    return {
        name: copy.with_rows(returned[name].rows, returned[name].values) if name in returned else copy
        for name, copy in copies.items()
    }
