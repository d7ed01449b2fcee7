"""The writer of a store: rows are appended, and become a new version at once."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.disk import clear_errors, remove_if_stale, sync_file, sync_folder, write_synced
from pfmsmtrec_flwr.data.store.manifest import (
    DTYPES,
    JSON,
    MANIFEST,
    MISSING_LABEL,
    SPLITS,
    STORE_VERSION,
    Field,
    Manifest,
    StoredField,
    StoredSplit,
    array_file,
    file_checksum,
    new_checksum,
)
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.versions import publish
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.private_files import FILE_MODE, make_private, open_private

_STALE_SECONDS = 24 * 3600.0


class StoreWriter:
    """Write one store by streaming; a context manager.

    Everything goes to a temporary folder beside the scenario's. `commit` brings it to disk and makes it the current
    version in one step, and removes older ones. Leaving the block without `commit` removes the temporary folder, so
    that there is never half a store. Only the owner may read the files.

    Parameters
    ----------
    path
        Folder of the scenario, created with its parents.
    dataset, scenario
        Names of both.
    fields, numeric, tasks
        Names and order of the columns of the arrays.
    schema_hash
        See `ScenarioStore`.
    users, probabilities
        Whether these optional arrays are stored.
    unlabelled
        Tasks whose labels may be `MISSING_LABEL`.

    Raises
    ------
    UserError
        The folder cannot be written, or the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        dataset: str,
        scenario: str,
        fields: Sequence[Field],
        numeric: Sequence[str],
        tasks: Sequence[str],
        schema_hash: str,
        users: bool,
        probabilities: bool = False,
        unlabelled: Collection[str] = (),
    ) -> None:
        self.path = path
        self._dataset = dataset
        self._scenario = scenario
        self._fields = tuple(fields)
        self._numeric = tuple(numeric)
        self._tasks = tuple(tasks)
        self._schema_hash = schema_hash
        self._unlabelled = np.array([task in unlabelled for task in tasks], dtype=bool)
        self._columns = {
            "categorical": sum(each.most for each in fields),
            "numeric": len(numeric),
            "labels": len(tasks),
        }
        if users:
            self._columns["users"] = 0
        if probabilities:
            self._columns["probabilities"] = len(tasks)
        self._sizes = np.repeat([each.size for each in fields], [each.most for each in fields]).astype(np.int64)
        self._temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
        self._files = ExitStack()
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._attached: dict[str, str] = {}
        self._rows = dict.fromkeys(SPLITS, 0)
        self._positives = {split: np.zeros(len(tasks), dtype=np.int64) for split in SPLITS}
        self._labelled = {split: np.zeros(len(tasks), dtype=np.int64) for split in SPLITS}

    def __enter__(self) -> StoreWriter:
        with clear_errors(self.path):
            make_private(self.path.parent)
            _remove_stale(self.path)
            make_private(self._temporary)
            for split in SPLITS:
                for array in self._columns:
                    handle = open_private(array_file(self._temporary, split, array))
                    self._streams[split, array] = _Stream(self._files.enter_context(handle))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._files.close()
        except OSError as closing:  # a full disk shows again when the last bytes are flushed
            logger.debug("closing %s: %s", self._temporary, closing)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def append(
        self,
        split: str,
        *,
        categorical: Array,
        numeric: Array,
        labels: Array,
        users: Array | None = None,
        probabilities: Array | None = None,
    ) -> None:
        """Add rows to a split; shapes as in `Split`.

        Raises
        ------
        UserError
            The disk is full or cannot be written.
        ValueError
            Shapes do not match, a category lies outside its table, a number is not finite, a label is not 0 or 1, or
            is missing in a task whose labels may not be.
        """
        rows = {"categorical": categorical, "numeric": numeric, "labels": labels}
        rows |= {} if users is None else {"users": users}
        rows |= {} if probabilities is None else {"probabilities": probabilities}
        arrays = _checked(rows, self._columns, self._sizes, self._unlabelled)
        with clear_errors(self.path):
            for name, values in arrays.items():
                self._streams[split, name].write(values)
        self._rows[split] += len(labels)
        self._positives[split] += (arrays["labels"] == 1).sum(axis=0, dtype=np.int64)
        self._labelled[split] += (arrays["labels"] != MISSING_LABEL).sum(axis=0, dtype=np.int64)

    def attach(self, write: Callable[[Path], Sequence[str]]) -> None:
        """Add further files to the store.

        Parameters
        ----------
        write
            Function that writes the files into a folder, and returns their names.

        Raises
        ------
        UserError
            The disk is full or cannot be written.
        """
        with clear_errors(self.path):
            for name in write(self._temporary):
                (self._temporary / name).chmod(FILE_MODE)
                sync_file(self._temporary / name)
                self._attached[name] = file_checksum(self._temporary / name)

    def commit(self, extra: Mapping[str, JSON] | None = None) -> ScenarioStore:
        """Bring the store to disk, make it the current version and open it.

        Parameters
        ----------
        extra
            Entries that are recorded in the manifest as they are.

        Raises
        ------
        UserError
            The disk is full or cannot be written.
        """
        with clear_errors(self.path):
            for stream in self._streams.values():
                stream.sync()
            self._files.close()
            write_synced(self._temporary / MANIFEST, self._manifest(extra or {}).to_json())
            sync_folder(self._temporary)
            publish(self._temporary, self.path)
        return ScenarioStore.open(self.path)

    def _manifest(self, extra: Mapping[str, JSON]) -> Manifest:
        return Manifest(
            store_version=STORE_VERSION,
            dataset=self._dataset,
            scenario=self._scenario,
            schema_hash=self._schema_hash,
            fields=[
                StoredField(name=each.name, size=each.size, federated=each.federated, most=each.most)
                for each in self._fields
            ],
            numeric=list(self._numeric),
            tasks=list(self._tasks),
            splits={
                split: StoredSplit(
                    rows=self._rows[split],
                    positives=self._positives[split].tolist(),
                    labelled=self._labelled[split].tolist() if self._unlabelled.any() else None,
                    checksums={array: self._streams[split, array].checksum() for array in self._columns},
                )
                for split in SPLITS
            },
            extra=dict(extra),
            attached=self._attached,
        )


class _Stream:
    """A file that is written once, with its checksum computed on the way."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._checksum = new_checksum()

    def write(self, values: Array) -> None:
        data = values.reshape(-1).view(np.uint8).data
        self._handle.write(data)
        self._checksum.update(data)

    def sync(self) -> None:
        self._handle.flush()
        os.fsync(self._handle.fileno())

    def checksum(self) -> str:
        return self._checksum.hexdigest()


def _checked(
    passed: Mapping[str, Array], columns: Mapping[str, int], sizes: Array, unlabelled: Array
) -> dict[str, Array]:
    """Return the arrays of some rows in the types of the store."""
    if passed.keys() != columns.keys():
        raise ValueError(f"got the arrays {sorted(passed)}, expected {sorted(columns)}")
    rows = len(passed["labels"])
    arrays: dict[str, Array] = {}
    for name, values in passed.items():
        count = columns[name]
        shape = (rows, count) if name != "users" else (rows,)
        if values.shape != shape:
            raise ValueError(f"{name}: got the shape {values.shape}, expected {shape}")
        arrays[name] = np.ascontiguousarray(values, dtype=DTYPES[name])
    if not np.isfinite(arrays["numeric"]).all():
        raise ValueError("numeric: not finite")
    odd = (passed["labels"] != 0) & (passed["labels"] != 1)
    if (odd & ~(unlabelled & (passed["labels"] == MISSING_LABEL))).any():
        raise ValueError("labels: not 0 or 1")
    if rows and ((passed["categorical"] < 0) | (passed["categorical"] >= sizes)).any():
        raise ValueError("categorical: a value outside its embedding table")
    return arrays


def _remove_stale(path: Path) -> None:
    """Remove temporary folders that killed writers left behind long ago."""
    for folder in path.parent.glob(f".{path.name}.*.tmp"):
        remove_if_stale(folder, _STALE_SECONDS)
