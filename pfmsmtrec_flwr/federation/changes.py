"""Changes of parameters in low precision, as a scenario sends them in place of the values after training.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.federation.changes import Changes
>>> from pfmsmtrec_flwr.federation.rounding import rounded
>>> one, other = (Changes({"w": rounded(torch.tensor([value]), "half")}) for value in (0.5, 0.25))
>>> one.fingerprint() == other.fingerprint()
False
>>> Changes().fingerprint()
0
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.federation.held_tensors import rows_of_table
from pfmsmtrec_flwr.federation.rounding import Coded


@dataclass(frozen=True, slots=True)
class CodedRows:
    """Change of the rows of a table that a training touched.

    Attributes
    ----------
    rows
        Row numbers, ascending and without repetition, (n,) int64.
    change
        Change of these rows (n, d).
    counts
        Number of uses of each row in training (n,) int64.
    """

    rows: Tensor
    change: Coded
    counts: Tensor

    def added_to(self, start: Mapping[str, Tensor], name: str) -> RowUpdate:
        """Return the rows after the change of the table (R, d) of a name."""
        return RowUpdate(self.rows, rows_of_table(start, name, self.rows) + self.change.decoded(), self.counts)


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of a scenario's parameters.

    Attributes
    ----------
    parameters
        Change of each tensor that is no table, by name.
    rows
        Change of the touched rows of each table, by name.
    """

    parameters: dict[str, Coded] = field(default_factory=dict)
    rows: dict[str, CodedRows] = field(default_factory=dict)

    def added_to(self, start: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, RowUpdate]]:
        """Return the tensors and the rows of tables after the changes, by name."""
        ends = {name: start[name] + coded.decoded() for name, coded in self.parameters.items()}
        return ends, {name: rows.added_to(start, name) for name, rows in self.rows.items()}

    def fingerprint(self) -> int:
        """Return a checksum of all changes, by which both sides know that they speak of the same ones."""
        checksum = 0
        for tensor in self._tensors():
            checksum = zlib.crc32(tensor.contiguous().numpy().tobytes(), checksum)
        return checksum

    def _tensors(self) -> Iterator[Tensor]:
        for name in sorted(self.parameters):
            yield from _arrays(self.parameters[name])
        for name in sorted(self.rows):
            yield from (self.rows[name].rows, *_arrays(self.rows[name].change))


def _arrays(coded: Coded) -> Iterator[Tensor]:
    yield coded.values
    if coded.scales is not None:
        yield coded.scales
