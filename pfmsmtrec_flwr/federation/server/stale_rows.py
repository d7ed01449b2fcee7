"""Rows of the tables that each scenario holds with another value than the server: only these need to go down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.aggregation.row_sets import put_rows, united_rows
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
        self._checksums: dict[str, Tensor] = {}  # of common tables, each computed once for all nodes

    def note(self, updates: Iterable[ScenarioUpdate], parameters: Parameters) -> None:
        """Note which rows are stale after an exchange.

        Parameters
        ----------
        updates
            Updates of the exchange.
        parameters
            Parameters that were aggregated from them.
        """
        self._rows, self._checksums, self.copies = {}, {}, {}
        for update in updates:
            if self._precision != "full":
                self.copies[update.scenario] = update.fingerprint
            now = parameters.of(update.scenario)
            tables = [name for name in names_of(update.slots, [Part.FEDERATED_EMBEDDING]) if name in now]
            forgets = set() if self._precision == "full" else parameters.common.keys()
            returned = {name: rows for name, rows in update.rows.items() if name not in forgets}
            self._rows[update.scenario] = {name: _stale(update.start, returned.get(name), now, name) for name in tables}

    def state_dict(self) -> dict[str, Any]:
        """Return the stale rows, for a checkpoint; checksums are computed again."""
        return {"rows": self._rows, "copies": self.copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._rows, self._checksums, self.copies = dict(state["rows"]), {}, dict(state.get("copies", {}))

    def shorten(self, incoming: Incoming, scenarios: Sequence[str]) -> Incoming:
        """Return the parameters for scenarios of one node, with changed rows in place of tables where that is less."""
        full = self._precision == "full"
        common = _changes(incoming.common, self._of_any(scenarios, incoming.common), self._checksums if full else None)
        personal = {
            name: _changes(tables, self._rows.get(name, {}), {} if full else None)
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
        return {table: torch.unique(torch.cat(rows)) for table, rows in stale.items() if rows}


def _changes(
    tensors: Mapping[str, Tensor], stale: Mapping[str, Tensor], checksums: dict[str, Tensor] | None
) -> dict[str, ChangedRows]:
    """Return the stale rows of those tables of which the rows and their numbers take less than the whole.

    Checksums of tables that are not known yet are added to the known ones; None: the rows have none.
    """
    changes = {}
    for name, rows in stale.items():
        if name not in tensors:
            continue
        form = form_of_tensor(tensors, name)
        if len(rows) * (1 + form.shape[1]) < form.numel():
            if checksums is not None and name not in checksums:
                checksums[name] = checksum_of_tensor(tensors, name)
            checksum = None if checksums is None else checksums[name]
            changes[name] = ChangedRows(rows, rows_of_table(tensors, name, rows), checksum)
    return changes


def _without(tensors: Mapping[str, Tensor], changes: Mapping[str, ChangedRows]) -> Tensors:
    if isinstance(tensors, HeldTensors):
        return cast("Tensors", tensors.without(changes))  # tables that travel whole are made when they are packed
    return {name: tensors[name] for name in tensors if name not in changes}


def _stale(sent: Mapping[str, Tensor], returned: RowUpdate | None, now: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the rows in which a table (R, d) differs from the one that was sent with the returned rows put in."""
    rows = _changed(sent, now, name)
    if rows is None:
        rows = differing_rows(sent[name], now[name]).nonzero().flatten()
    if returned is not None:
        rows = united_rows(rows, returned.rows)
    held = rows_of_table(sent, name, rows)
    if returned is not None:
        put_rows(held, rows, returned.values, returned.rows)
    return rows[differing_rows(held, rows_of_table(now, name, rows))]


def _changed(sent: Mapping[str, Tensor], now: Mapping[str, Tensor], name: str) -> Tensor | None:
    """Return the rows of a scenario's own table that may have changed; None: all may have."""
    if not (isinstance(sent, HeldTensors) and isinstance(now, HeldTensors)):
        return None
    before, after = sent.table(name), now.table(name)
    return None if before is None or after is None else after.changed_since(before)
