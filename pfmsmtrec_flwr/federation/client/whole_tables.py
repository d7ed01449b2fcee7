"""Large embedding tables on a scenario's disk: whole once, and from then on as the rows in which they differ.

A round changes few rows of a large table. So a file of memory, or of a measured model, holds of each large table the
number of a file ``table-N-NAME.safetensors`` with an earlier state of it, and the rows that differ. A table is written
whole again when too many of them do. A file is never written twice, so what refers to it stays true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from pfmsmtrec_flwr.federation.client.tensor_files import load_tensors, numbers_of, save_tensors
from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.model.embeddings import differing_rows

LARGE_ROWS = 100_000
"""Rows from which a table is large."""
PART = 8
"""A table is written whole when more than this part of its rows, as its inverse, differs from the last whole one."""

_TABLE = "table"
_WHOLE, _ROWS, _VALUES = "@whole", "@rows", "@values"
"""Ends of the names of what stands for a large table: number of the whole one, rows that differ, their values."""


class WholeTables:
    """Files of whole large tables in a scenario's folder.

    Parameters
    ----------
    folder
        Folder of the scenario.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shortened(self, tensors: Mapping[str, Tensor], *, renew: bool) -> Tensors:
        """Return tensors with, in the place of large tables, the rows in which they differ from the last whole ones.

        Parameters
        ----------
        tensors
            Tensors by name. What follows the last slash of a name is the table's; several states of a table, such as
            that of a second model, refer to one whole one.
        renew
            Whether a table is written whole if none is there, or if the first of its states has come too far from it.
            Otherwise it stays among the tensors.
        """
        short: Tensors = {}
        seen: set[str] = set()
        for name, tensor in tensors.items():
            table = name.rpartition("/")[2]
            if not _is_large(tensor):
                short[name] = tensor
                continue
            entries = self._differences(name, tensor)
            if not entries and renew and table not in seen:
                number = max(self._numbers(table), default=0) + 1
                save_tensors(self._path(number, table), {_TABLE: tensor})
                entries = _entries(name, tensor, number, torch.empty(0, dtype=torch.int64))
            seen.add(table)
            short |= entries or {name: tensor}
        return short

    def completed(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return the tensors that `shortened` took, with whole tables.

        Raises
        ------
        UserError
            A whole table is missing or damaged.
        """
        whole: Tensors = {}
        for key, tensor in tensors.items():
            if key.endswith(_WHOLE):
                name = key.removesuffix(_WHOLE)
                table = load_tensors(self._path(int(tensor), name.rpartition("/")[2]))[_TABLE]
                whole[name] = table.index_copy_(0, tensors[name + _ROWS].long(), tensors[name + _VALUES])
            elif not key.endswith((_ROWS, _VALUES)):
                whole[key] = tensor
        return whole

    def drop_all_but(self, files: Iterable[Path]) -> None:
        """Remove the whole tables to which none of some files refers."""
        there = list(self.folder.glob("table-*.safetensors"))
        if not there:
            return
        used = {
            self._path(int(number), key.removesuffix(_WHOLE).rpartition("/")[2])
            for file in files
            for key, number in load_tensors(file).items()
            if key.endswith(_WHOLE)
        }
        for file in set(there) - used:
            file.unlink(missing_ok=True)

    def _differences(self, name: str, tensor: Tensor) -> Tensors:
        """Return what stands for a large table beside the last whole one; nothing without one that is near."""
        table = name.rpartition("/")[2]
        if not (numbers := self._numbers(table)):
            return {}
        last = load_tensors(self._path(numbers[-1], table))[_TABLE]
        if last.shape != tensor.shape or last.dtype != tensor.dtype:
            return {}
        rows = differing_rows(last, tensor.detach().cpu()).nonzero().flatten()
        return _entries(name, tensor, numbers[-1], rows) if len(rows) * PART <= len(tensor) else {}

    def _numbers(self, table: str) -> list[int]:
        return numbers_of(self.folder, re.compile(rf"table-(\d+)-{re.escape(table)}\.safetensors"))

    def _path(self, number: int, table: str) -> Path:
        return self.folder / f"table-{number}-{table}.safetensors"


def _entries(name: str, tensor: Tensor, number: int, rows: Tensor) -> Tensors:
    values = tensor.detach()[rows.to(tensor.device)]
    return {name + _WHOLE: torch.tensor(number), name + _ROWS: rows, name + _VALUES: values}


def _is_large(tensor: Tensor) -> bool:
    return tensor.dim() == 2 and len(tensor) >= LARGE_ROWS
