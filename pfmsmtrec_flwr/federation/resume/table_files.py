"""Large embedding tables beside the checkpoints of a method: whole once, and from then on as the rows that differ.

An exchange changes few rows of a large table. So a checkpoint holds of each large table the number of a file
``table-N.safetensors`` with an earlier state of it, and the rows that differ. A table is written whole again when too
many of them do, and by a process that resumes. A file is never written twice, so what refers to it stays true.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import from_numpy

from pfmsmtrec_flwr.data.store.disk import sync_folder
from pfmsmtrec_flwr.federation.resume.array_files import sha256_of, write_arrays
from pfmsmtrec_flwr.federation.resume.state_tree import Arrays
from pfmsmtrec_flwr.model.embeddings import few_differing_rows

MANY_ROWS = 100_000
"""Rows from which a table is large."""

_TABLE = "table"
_WHOLE, _ROWS, _VALUES = "@whole", "@rows", "@values"
"""Ends of the names of what stands for a large table: number of the whole one, rows that differ, their values."""
_NAME = re.compile(r"table-(\d+)\.safetensors")


@dataclass(frozen=True, slots=True)
class ShortArrays:
    """Arrays of a checkpoint, with rows in the place of large tables.

    Attributes
    ----------
    arrays
        Arrays by name.
    files
        SHA-256 of each file of a whole table to which rows belong, by its name.
    """

    arrays: Arrays
    files: dict[str, str]


class TableFiles:
    """Files of whole tables in the folder of a method's checkpoints.

    Parameters
    ----------
    folder
        Folder of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: dict[str, int] = {}  # number of the last whole table of a name
        self._checksums: dict[int, str] = {}

    def shortened(self, arrays: Mapping[str, NDArray[Any]]) -> ShortArrays:
        """Return arrays with rows in the place of large tables.

        Raises
        ------
        OSError
            The file system refuses a whole table, or the last one is gone.
        """
        short: Arrays = {}
        seen: set[str] = set()
        numbers: set[int] = set()
        for name, array in arrays.items():
            table = _table_of(name)
            if table.isdigit() or array.ndim != 2 or len(array) < MANY_ROWS:  # a member of a list is no table
                short[name] = array
                continue
            rows = self._differing(table, array)
            if rows is None and table not in seen:
                self._write(table, array)
                rows = np.empty(0, dtype=np.int64)
            seen.add(table)
            if rows is None:
                short[name] = array
                continue
            number = self._last[table]
            numbers.add(number)
            short |= {name + _WHOLE: np.array(number), name + _ROWS: rows, name + _VALUES: array[rows]}
        return ShortArrays(short, {_file_of(number): self._checksums[number] for number in sorted(numbers)})

    def completed(self, short: ShortArrays) -> Arrays:
        """Return the arrays that `shortened` took.

        Raises
        ------
        ValueError
            The checksum of a file differs.
        OSError
            A file cannot be read.
        """
        for file, checksum in short.files.items():
            if sha256_of(self.folder / file) != checksum:
                raise ValueError(f"the checksum of {file} differs")
        whole: Arrays = {}
        for key, array in short.arrays.items():
            if key.endswith(_WHOLE):
                name = key.removesuffix(_WHOLE)
                table = load_file(self.folder / _file_of(int(array)))[_TABLE].numpy()
                table[short.arrays[name + _ROWS]] = short.arrays[name + _VALUES]
                whole[name] = table
            elif not key.endswith((_ROWS, _VALUES)):
                whole[key] = array
        return whole

    def drop_all_but(self, files: Collection[str]) -> None:
        """Remove all files but some."""
        for path in self.folder.glob("*table-*"):
            if path.name not in files:
                path.unlink(missing_ok=True)

    def _differing(self, table: str, array: NDArray[Any]) -> NDArray[np.int64] | None:
        """Return the rows in which a table differs from the last whole one; None without one that is near."""
        if table not in self._last:
            return None
        last = load_file(self.folder / _file_of(self._last[table]))[_TABLE]
        rows = few_differing_rows(last, from_numpy(array))
        return None if rows is None else rows.numpy()

    def _write(self, table: str, array: NDArray[Any]) -> None:
        found = [_NAME.fullmatch(path.name) for path in self.folder.glob("table-*")]
        number = 1 + max((int(match[1]) for match in found if match), default=0)
        path = self.folder / _file_of(number)
        unfinished = path.with_name(f".{path.name}")
        write_arrays(unfinished, {_TABLE: array})
        self._checksums[number] = sha256_of(unfinished)
        unfinished.replace(path)
        sync_folder(self.folder)
        self._last[table] = number


def _table_of(name: str) -> str:
    """Return the name of the table that an array is a state of: what follows the last slash, or precedes ``/base``."""
    return name.removesuffix("/base").rpartition("/")[2]


def _file_of(number: int) -> str:
    return f"table-{number:06d}.safetensors"
