"""Spools: arrays of numbers on disk, appended block by block, and read block by block or row by row.

A spool holds rows that were parsed until they are no longer needed, so that memory is bounded for any number of rows.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.disk import clear_errors, sync_folder, write_synced
from pfmsmtrec_flwr.private_files import make_private, open_private

Layout: TypeAlias = Mapping[str, tuple[str, int | None]]
"""Numpy name of the type and number of columns of each array; None for an array with one axis."""

_DESCRIPTION = "spool.json"
_UNFINISHED = ".tmp"
_RELEASED_BYTES = 64 << 20


class SpoolWriter:
    """Writer of a spool; a context manager. The spool appears, complete, when `finish` is called.

    Parameters
    ----------
    path
        Folder of the spool.
    layout
        Arrays, all with the same number of rows.

    Raises
    ------
    UserError
        The disk is full or cannot be written.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.rows = 0
        self._layout = dict(layout)
        self._temporary = path.with_name(path.name + _UNFINISHED)
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}

    def __enter__(self) -> SpoolWriter:
        with clear_errors(self.path):
            make_private(self.path.parent)
            make_private(self._temporary)
            for name in self._layout:
                self._files[name] = self._stack.enter_context(open_private(self._temporary / name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk was reported before
            self._stack.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def append(self, arrays: Mapping[str, Array]) -> None:
        """Add rows to every array of the layout."""
        with clear_errors(self.path):
            for name, (dtype, _) in self._layout.items():
                self._files[name].write(np.ascontiguousarray(arrays[name], dtype=dtype).reshape(-1).view(np.uint8).data)
        self.rows += len(arrays[next(iter(self._layout))])

    def finish(self) -> Spool:
        """Put the spool into place and open it."""
        with clear_errors(self.path):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            self._stack.close()
            description = {"rows": self.rows, "layout": self._layout}
            write_synced(self._temporary / _DESCRIPTION, json.dumps(description).encode())
            shutil.rmtree(self.path, ignore_errors=True)
            self._temporary.rename(self.path)
            sync_folder(self.path.parent)
        return Spool(self.path)


class Spool:
    """A finished spool."""

    def __init__(self, path: Path) -> None:
        description = json.loads((path / _DESCRIPTION).read_text())
        self.path = path
        self.rows: int = description["rows"]
        self.layout: dict[str, tuple[str, int | None]] = {
            name: (dtype, columns) for name, (dtype, columns) in description["layout"].items()
        }
        self._maps: dict[str, tuple[mmap.mmap | None, Array]] = {}

    def blocks(self, rows: int) -> Iterator[dict[str, Array]]:
        """Yield all rows in order, in blocks of `rows` rows."""
        with ExitStack() as stack:
            files = {name: stack.enter_context((self.path / name).open("rb")) for name in self.layout}
            for start in range(0, self.rows, rows):
                count = min(rows, self.rows - start)
                yield {name: self._read(files[name], name, count) for name in self.layout}

    def column(self, name: str) -> Array:
        """Return one array, mapped into memory."""
        return self._map(name)[1]

    def size(self, name: str) -> int:
        """Return the size of one array in bytes."""
        return int(np.prod(self._shape(name, self.rows), dtype=np.int64)) * np.dtype(self.layout[name][0]).itemsize

    def take(self, name: str, rows: Array) -> Array:
        """Return some rows of one array, and release the memory of large maps."""
        mapped, values = self._map(name)
        taken: Array = values[rows]
        if mapped is not None and len(mapped) > _RELEASED_BYTES:
            mapped.madvise(mmap.MADV_DONTNEED)
        return taken

    def _map(self, name: str) -> tuple[mmap.mmap | None, Array]:
        if name not in self._maps:
            dtype = self.layout[name][0]
            if 0 in self._shape(name, self.rows):  # an empty file cannot be mapped
                self._maps[name] = None, np.empty(self._shape(name, self.rows), dtype=dtype)
            else:
                with (self.path / name).open("rb") as file:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._maps[name] = mapped, np.frombuffer(mapped, dtype=dtype).reshape(self._shape(name, self.rows))
        return self._maps[name]

    def _read(self, file: Any, name: str, count: int) -> Array:
        shape = self._shape(name, count)
        values = np.fromfile(file, dtype=self.layout[name][0], count=int(np.prod(shape, dtype=np.int64)))
        return values.reshape(shape)

    def _shape(self, name: str, count: int) -> tuple[int, ...]:
        columns = self.layout[name][1]
        return (count,) if columns is None else (count, columns)


def is_spool(path: Path) -> bool:
    """Return whether the folder holds a finished, complete spool."""
    try:
        spool = Spool(path)
        return all((path / name).stat().st_size == spool.size(name) for name in spool.layout)
    except (OSError, ValueError):
        return False
