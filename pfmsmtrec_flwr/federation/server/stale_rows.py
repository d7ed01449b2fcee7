"""Rows of the tables that each scenario holds with another value than the server: only these need to go down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.aggregation.row_sets import joined_rows, places_of_common
from pfmsmtrec_flwr.aggregation.table_checksum import sum_of_rows, table_checksum
from pfmsmtrec_flwr.config import Precision
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.held_tensors import HeldTensors, checksum_of_tensor, form_of_tensor, rows_of_table
from pfmsmtrec_flwr.federation.protocol import Incoming, Tensors
from pfmsmtrec_flwr.federation.server.parameters import Parameters
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.model.embeddings import differing_rows


class StaleRows:
    """Numbers of the stale rows, by scenario and table.

    A scenario holds each table as it was sent last, with the rows that it sent back. Nothing is known of a scenario
    before its first update, or after an exchange in which its update did not count: it receives whole tables.

    In low precision a row of its own table that a scenario alone has moved differs from the server's by what rounding
    took from it on its way down. The server does not know the copy to the bit, and names the update that made it. Of a
    common table the scenario forgets what it moved: a message to several scenarios of a node brings some of them rows
    that they have, and none may train on other values for that.

    Parameters
    ----------
    precision
        Precision of what goes down.

    Attributes
    ----------
    copies
        Fingerprint of the last update of each scenario, which made its copies, in low precision.
    """

    def __init__(self, precision: Precision = "full") -> None:
        self.copies: dict[str, int] = {}
        self._precision = precision
        self._rows: dict[str, dict[str, Tensor]] = {}
        self._checksums: dict[str, tuple[Tensor, Tensor]] = {}  # common tables and their checksums

    def note(self, updates: Iterable[ScenarioUpdate], parameters: Parameters) -> None:
        """Note which rows are stale after an exchange.

        Parameters
        ----------
        updates
            Updates of the exchange.
        parameters
            Parameters that were aggregated from them.
        """
        self._rows, self.copies = {}, {}
        changed = _ChangedTables()
        for update in updates:
            if self._precision != "full":
                self.copies[update.scenario] = update.fingerprint
            now = parameters.of(update.scenario)
            tables = [name for name in names_of(update.slots, [Part.FEDERATED_EMBEDDING]) if name in now]
            forgets = set() if self._precision == "full" else parameters.common.keys()
            returned = {name: rows for name, rows in update.rows.items() if name not in forgets}
            self._rows[update.scenario] = {
                name: _stale(changed.rows(update.start, now, name), returned.get(name), now, name) for name in tables
            }
        self._checksums = changed.followed(self._checksums, parameters.common)

    def state_dict(self) -> dict[str, Any]:
        """Return the stale rows, for a checkpoint; checksums are computed again."""
        return {"rows": self._rows, "copies": self.copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._rows, self._checksums, self.copies = dict(state["rows"]), {}, dict(state.get("copies", {}))

    def shorten(self, incoming: Incoming, scenarios: Sequence[str]) -> Incoming:
        """Return the parameters for scenarios of one node, with changed rows in place of tables where that is less."""
        full = self._precision == "full"
        common = _changes(
            incoming.common, self._of_any(scenarios, incoming.common), self._common_checksum if full else None
        )
        personal = {
            name: _changes(tables, self._rows.get(name, {}), checksum_of_tensor if full else None)
            for name, tables in incoming.personal.items()
        }
        shorter = replace(
            incoming,
            common=_without(incoming.common, common),
            personal={name: _without(tables, personal[name]) for name, tables in incoming.personal.items()},
            common_changes=common,
            personal_changes=personal,
        )
        return shorter if full else shorter.halved()

    def _of_any(self, scenarios: Sequence[str], common: Iterable[str]) -> dict[str, Tensor]:
        """Return the rows of common tables that are stale in a scenario or more; nothing if one of them is unknown."""
        known = [self._rows[name] for name in scenarios if name in self._rows]
        if len(known) < len(scenarios):
            return {}
        stale = {table: [rows[table] for rows in known if table in rows] for table in common}
        return {
            table: rows[0] if len(rows) == 1 else torch.unique(torch.cat(rows)) for table, rows in stale.items() if rows
        }

    def _common_checksum(self, common: Mapping[str, Tensor], name: str) -> Tensor:
        """Return the checksum of a common table, which is computed once for all nodes and then follows its changes."""
        table = common[name]
        if name not in self._checksums or self._checksums[name][0] is not table:
            self._checksums[name] = table, table_checksum(table)
        return self._checksums[name][1]


class _ChangedTables:
    """Rows in which tables have changed in an exchange: those of a table that several scenarios had are found once."""

    def __init__(self) -> None:
        # Keys are the identities of a table before and after; both are kept, so that no other tensor gets them.
        self._found: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}

    def rows(self, sent: Mapping[str, Tensor], now: Mapping[str, Tensor], name: str) -> Tensor:
        """Return the rows in which a table differs from the one that was sent."""
        rows = _of_own_table(sent, now, name)
        if rows is not None:
            return rows[differing_rows(rows_of_table(sent, name, rows), rows_of_table(now, name, rows))]
        before, after = sent[name], now[name]
        if _is_made(sent, name) or _is_made(now, name):
            return differing_rows(before, after).nonzero().flatten()
        pair = id(before), id(after)
        if pair not in self._found:
            self._found[pair] = before, after, differing_rows(before, after).nonzero().flatten()
        return self._found[pair][2]

    def followed(
        self, checksums: Mapping[str, tuple[Tensor, Tensor]], common: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the checksums of the common tables whose changes are known, from those before the exchange."""
        after = {}
        for name, (table, checksum) in checksums.items():
            if found := self._found.get((id(table), id(common.get(name)))):
                _, now, rows = found
                after[name] = now, checksum + sum_of_rows(rows, now[rows]) - sum_of_rows(rows, table[rows])
        return after


def _changes(
    tensors: Mapping[str, Tensor],
    stale: Mapping[str, Tensor],
    checksum_of: Callable[[Mapping[str, Tensor], str], Tensor] | None,
) -> dict[str, ChangedRows]:
    """Return the stale rows of those tables of which the rows and their numbers take less than the whole.

    `checksum_of` returns the checksum of a table by its name; None: the rows have none.
    """
    changes = {}
    for name, rows in stale.items():
        if name not in tensors:
            continue
        form = form_of_tensor(tensors, name)
        if len(rows) * (1 + form.shape[1]) < form.numel():
            checksum = None if checksum_of is None else checksum_of(tensors, name)
            changes[name] = ChangedRows(rows, rows_of_table(tensors, name, rows), checksum)
    return changes


def _without(tensors: Mapping[str, Tensor], changes: Mapping[str, ChangedRows]) -> Tensors:
    if isinstance(tensors, HeldTensors):
        return cast("Tensors", tensors.without(changes))  # tables that travel whole are made when they are packed
    return {name: tensors[name] for name in tensors if name not in changes}


def _stale(changed: Tensor, returned: RowUpdate | None, now: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the rows in which a table differs from the one that was sent with the returned rows put in.

    Parameters
    ----------
    changed
        Rows in which it differs from the one that was sent.
    returned
        Rows that the scenario sent back, if any.
    now
        Tensors as they are now.
    name
        Name of the table.
    """
    if returned is None:
        return changed
    others = torch.ones(len(changed), dtype=torch.bool)
    others[places_of_common(changed, returned.rows)[0]] = False
    differs = differing_rows(returned.values, rows_of_table(now, name, returned.rows))
    return joined_rows(changed[others], returned.rows[differs])[0]


def _united(rows: Sequence[Tensor]) -> Tensor:
    return rows[0] if len(rows) == 1 else torch.unique(torch.cat(list(rows)))


def _is_made(tensors: Mapping[str, Tensor], name: str) -> bool:
    """Return whether a table is made when it is asked for."""
    return isinstance(tensors, HeldTensors) and tensors.table(name) is not None


def _of_own_table(sent: Mapping[str, Tensor], now: Mapping[str, Tensor], name: str) -> Tensor | None:
    """Return the rows of a scenario's own table that may have changed; None: all may have."""
    if not (isinstance(sent, HeldTensors) and isinstance(now, HeldTensors)):
        return None
    before, after = sent.table(name), now.table(name)
    return None if before is None or after is None else after.changed_since(before)
