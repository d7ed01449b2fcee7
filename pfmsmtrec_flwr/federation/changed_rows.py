"""Changed rows of an embedding table, which travel in place of the whole table.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
>>> from pfmsmtrec_flwr.model.embeddings import differing_rows
>>> held = torch.tensor([[1.0], [2.0], [3.0]])  # (R, d), a scenario's copy
>>> table = torch.tensor([[1.0], [5.0], [3.0]])
>>> change = ChangedRows.of(table, differing_rows(held, table).nonzero().flatten())
>>> change.rows.tolist(), change.values.tolist()
([1], [[5.0]])
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from pfmsmtrec_flwr.aggregation.table_checksum import table_checksum
from pfmsmtrec_flwr.federation.rounding import halved, widened


@dataclass(frozen=True, slots=True)
class ChangedRows:
    """Rows of a table in which a copy of it differs.

    Attributes
    ----------
    rows
        Row numbers (n,) int64.
    values
        Values of these rows (n, d).
    checksum
        Checksum of the whole table, () int64; None in low precision, where the server does not hold a scenario's copy
        to the bit, and the order names the copy instead.
    """

    rows: Tensor
    values: Tensor
    checksum: Tensor | None

    @classmethod
    def of(cls, table: Tensor, rows: Tensor, checksum: Tensor | None = None) -> ChangedRows:
        """Return some rows of a table, whose checksum is computed unless it is known."""
        return cls(rows, table[rows], table_checksum(table) if checksum is None else checksum)

    def halved(self) -> ChangedRows:
        """Return the change in low precision, without a checksum."""
        return ChangedRows(self.rows, halved(self.values), None)

    def widened(self) -> ChangedRows:
        """Return the change with values as float32."""
        return replace(self, values=widened(self.values))
