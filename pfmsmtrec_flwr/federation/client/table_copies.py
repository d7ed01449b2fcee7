"""A scenario's copy of a table that it shares: a whole table, and the rows in which the copy differs from it.

The whole table lies in a file, which is read where it is asked for. So what changes a copy of a large table, or reads
some rows of it, costs those rows.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
>>> from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
>>> copy = TableCopy.of(torch.tensor([[1.0], [2.0], [3.0]]))  # (R, d)
>>> change = ChangedRows.of(torch.tensor([[1.0], [5.0], [3.0]]), torch.tensor([1]))
>>> copy.changed(change).table().flatten().tolist()
[1.0, 5.0, 3.0]
>>> TableCopy.of(torch.zeros(3, 1)).changed(change) is None  # another copy than the one that the change was made for
True
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.personal_tables import OwnRows
from pfmsmtrec_flwr.aggregation.table_checksum import table_checksum
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows

LARGE_ROWS = 100_000
"""Rows from which a table is large."""


@dataclass(frozen=True, slots=True)
class WholeTable:
    """Whole table, which nobody changes.

    Attributes
    ----------
    values
        Table (R, d).
    number
        Number of its file; None: it lies in memory alone.
    checksum
        Checksum of the table, () int64; None: it is not known yet.
    """

    values: Tensor
    number: int | None = None
    checksum: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TableCopy:
    """Copy of a table at one moment; what changes it returns the next one.

    Attributes
    ----------
    whole
        Table from which the copy differs.
    own
        Rows in which it differs; none of a small table.
    """

    whole: WholeTable
    own: OwnRows

    @classmethod
    def of(cls, table: Tensor, number: int | None = None, checksum: Tensor | None = None) -> TableCopy:
        """Return the copy that is a whole table (R, d), which nobody changes from now on; see `WholeTable`."""
        none = OwnRows(torch.empty(0, dtype=torch.int64), table[:0], torch.zeros((), dtype=torch.int64))
        return cls(WholeTable(table, number, checksum), none)

    def table(self) -> Tensor:
        """Return the table (R, d), which may be the whole one itself: nobody may change it."""
        if not len(self.own.rows):
            return self.whole.values
        return self.whole.values.index_copy(0, self.own.rows, self.own.values)

    def rows_of(self, rows: Tensor) -> Tensor:
        """Return the values (n, d) of some rows, whose numbers (n,) ascend without repetition."""
        return self.own.over(rows, self.whole.values.index_select(0, rows))

    def checksum(self) -> Tensor:
        """Return the checksum of the table, () int64."""
        known = self.whole.checksum
        return (table_checksum(self.whole.values) if known is None else known) + self.own.surplus

    def with_rows(self, rows: Tensor, values: Tensor) -> TableCopy:
        """Return the copy in which some rows have other values (n, d); their numbers ascend without repetition."""
        if not is_large_table(self.whole.values):
            return TableCopy.of(self.whole.values.index_copy(0, rows, values))
        before = self.whole.values.index_select(0, rows)
        return replace(self, own=self.own.replaced(rows, before, OwnRows.that_differ(rows, values, before)))

    def changed(self, change: ChangedRows) -> TableCopy | None:
        """Return the copy after a change; None if it has not become the table of the change, to the bit."""
        table, rows, values = self.whole.values, change.rows, change.values
        if (values.shape[1:], values.dtype) != (table.shape[1:], table.dtype) or len(rows) != len(values):
            return None
        if len(rows) and not (int(rows[0]) >= 0 and int(rows[-1]) < len(table) and bool((rows.diff() > 0).all())):
            return None
        copy = self.with_rows(rows, values)
        return copy if change.checksum is None or torch.equal(copy.checksum(), change.checksum) else None


def is_large_table(tensor: Tensor) -> bool:
    """Return whether a tensor is a large table."""
    return tensor.dim() == 2 and len(tensor) >= LARGE_ROWS
