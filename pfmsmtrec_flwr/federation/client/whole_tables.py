"""Large embedding tables on a scenario's disk: whole once, and from then on as the rows in which they differ.

A round changes few rows of a large table. So a file of memory, or of a measured model, holds of each large table the
number of a file ``table-N-NAME.safetensors`` with an earlier state of it, and the rows that differ. A table is written
whole again when too many of them do. A file is never written twice, so what refers to it stays true. The rows of a
scenario's copy are known; those of other tables are found by comparing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.personal_tables import OwnRows
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy, WholeTable, is_large_table
from pfmsmtrec_flwr.federation.client.tensor_files import load_tensors, numbers_of, save_tensors
from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.model.embeddings import PART, few_differing_rows

_TABLE, _CHECKSUM = "table", "checksum"
_WHOLE, _ROWS, _VALUES, _SURPLUS = "@whole", "@rows", "@values", "@surplus"
"""Ends of the names of what stands for a large table: number of the whole one, rows that differ, their values, and of
a copy what they add to the checksum."""


class WholeTables:
    """Files of whole large tables in a scenario's folder.

    Parameters
    ----------
    folder
        Folder of the scenario.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settled(self, copies: Mapping[str, TableCopy]) -> dict[str, TableCopy]:
        """Return copies that are the same tables, of which those of large ones are near a whole one in a file.

        A table that came whole, or has come far from the whole one, is written.
        """
        return {name: copy if self._is_near(copy) else self._written(name, copy) for name, copy in copies.items()}

    def entries(self, copies: Mapping[str, TableCopy]) -> Tensors:
        """Return what stands for copies in a file, which must be settled."""
        kept: Tensors = {}
        for name, copy in copies.items():
            if copy.whole.number is None:
                kept[name] = copy.table()
            else:
                own = {_ROWS: copy.own.rows, _VALUES: copy.own.values, _SURPLUS: copy.own.surplus}
                kept |= {name + _WHOLE: torch.tensor(copy.whole.number)}
                kept |= {name + end: tensor for end, tensor in own.items()}
        return kept

    def copies(self, entries: Mapping[str, Tensor]) -> dict[str, TableCopy]:
        """Return the copies for which `entries` stand.

        Raises
        ------
        UserError
            A whole table is missing or damaged.
        """
        found = {key: TableCopy.of(tensor) for key, tensor in entries.items() if "@" not in key}
        for key, number in entries.items():
            if key.endswith(_WHOLE):
                name = key.removesuffix(_WHOLE)
                whole = self._whole(name, int(number))
                rows, values = entries[name + _ROWS], entries[name + _VALUES]
                known = entries.get(name + _SURPLUS)  # earlier versions did not keep it
                own = OwnRows.of(rows, values, whole.values[rows]) if known is None else OwnRows(rows, values, known)
                found[name] = TableCopy(whole, own)
        return found

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
            if not is_large_table(tensor):
                short[name] = tensor
                continue
            entries = self._differences(name, tensor)
            if not entries and renew and table not in seen:
                copy = self._written(table, TableCopy.of(tensor.detach().cpu()))
                entries = self.entries({name: copy})
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
                table = self._whole(name.rpartition("/")[2], int(tensor)).values
                whole[name] = table.index_copy_(0, tensors[name + _ROWS].long(), tensors[name + _VALUES])
            elif not key.endswith((_ROWS, _VALUES, _SURPLUS)):
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

    def _is_near(self, copy: TableCopy) -> bool:
        """Return whether a table is small, or near a whole one in a file."""
        rows, whole = len(copy.own.rows), copy.whole
        return not is_large_table(whole.values) or (whole.number is not None and rows * PART <= len(whole.values))

    def _written(self, table: str, copy: TableCopy) -> TableCopy:
        """Write a table whole, and return its copy without rows of its own."""
        checksum, values, numbers = copy.checksum(), copy.table(), self._numbers(table)
        if numbers:  # the exchange before may have failed once this table was written
            last = self._whole(table, numbers[-1])
            if last.checksum is not None and torch.equal(last.checksum, checksum) and last.values.shape == values.shape:
                return TableCopy.of(last.values, last.number, checksum)
        number = max(numbers, default=0) + 1
        save_tensors(self._path(number, table), {_TABLE: values, _CHECKSUM: checksum})
        return TableCopy.of(values, number, checksum)

    def _whole(self, table: str, number: int) -> WholeTable:
        file = load_tensors(self._path(number, table))
        return WholeTable(file[_TABLE], number, file.get(_CHECKSUM))

    def _differences(self, name: str, tensor: Tensor) -> Tensors:
        """Return what stands for a large table beside the last whole one; nothing without one that is near."""
        table = name.rpartition("/")[2]
        if not (numbers := self._numbers(table)):
            return {}
        rows = few_differing_rows(self._whole(table, numbers[-1]).values, tensor.detach().cpu())
        return {} if rows is None else _entries(name, tensor, numbers[-1], rows)

    def _numbers(self, table: str) -> list[int]:
        return numbers_of(self.folder, re.compile(rf"table-(\d+)-{re.escape(table)}\.safetensors"))

    def _path(self, number: int, table: str) -> Path:
        return self.folder / f"table-{number}-{table}.safetensors"


def _entries(name: str, tensor: Tensor, number: int, rows: Tensor) -> Tensors:
    values = tensor.detach()[rows.to(tensor.device)]
    return {name + _WHOLE: torch.tensor(number), name + _ROWS: rows, name + _VALUES: values}
