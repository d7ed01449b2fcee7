"""The prepared store: one scenario's rows as flat, memory-mapped arrays with a manifest and checksums.

Layout of ``<data_root>/<dataset>/<scenario>/``: ``manifest.json`` and, for each split and array,
``<split>.<array>.bin``, row-major and little-endian. Opening reads the manifest and maps the files; no row is touched.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.store.replacing import put_in_place, remove_if_stale, sync_folder
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.validation import Section, parse

SPLITS = ("train", "validation", "test")
STORE_VERSION = 1
MANIFEST = "manifest.json"

JSON: TypeAlias = str | int | float | bool | list["JSON"] | dict[str, "JSON"] | None
Array: TypeAlias = npt.NDArray[Any]

_DTYPES = {"categorical": "<i4", "numeric": "<f4", "labels": "|u1", "users": "<i8", "probabilities": "<f4"}
_STALE_SECONDS = 24 * 3600.0
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Field:
    """One categorical field as stored."""

    name: str
    size: int
    """Rows of its embedding table; row 0 is reserved for unseen and missing values."""
    federated: bool
    """False: the table never leaves the scenario."""


@dataclass(frozen=True, slots=True)
class Split:
    """The rows of one split; all arrays have the same first axis."""

    categorical: Array
    """int32 (n, F)."""
    numeric: Array
    """float32 (n, N), standardised."""
    labels: Array
    """uint8 (n, T), 0 or 1."""
    users: Array | None
    """int64 (n,), for grouped metrics only."""
    probabilities: Array | None
    """float32 (n, T), the true probabilities of made-up data."""

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def positives(self) -> list[int]:
        """Return the number of positive labels of each task."""
        counts: list[int] = self.labels.sum(axis=0, dtype=np.int64).tolist()
        return counts

    def fraction(self, share: float, seed: int) -> Split:
        """Return a share of the rows, two at least, drawn at random and in their order; all of them are the split."""
        if share >= 1:
            return self
        count = min(len(self), max(2, round(share * len(self))))
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:count]))

    def take(self, index: Array) -> Split:
        """Return the rows of the given numbers, in memory."""
        users = None if self.users is None else self.users[index]
        truth = None if self.probabilities is None else self.probabilities[index]
        return Split(self.categorical[index], self.numeric[index], self.labels[index], users, truth)


@dataclass(frozen=True, slots=True)
class ScenarioStore:
    """One scenario's prepared data, memory-mapped and read-only."""

    path: Path
    dataset: str
    scenario: str
    fields: tuple[Field, ...]
    numeric: tuple[str, ...]
    tasks: tuple[str, ...]
    schema_hash: str
    """Equal for all scenarios of one data set that were prepared alike."""
    splits: Mapping[str, Split] = field(repr=False)
    extra: Mapping[str, JSON] = field(default_factory=dict, repr=False)
    """What the one who wrote the store recorded beside the rows."""
    label_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path, *, verify: bool = False) -> ScenarioStore:
        """Map a store.

        Parameters
        ----------
        path
            Folder of the scenario.
        verify
            Read every array and compare its checksum with the manifest. Versions and file sizes are always compared.

        Raises
        ------
        UserError
            No store there, one of another store version, a damaged manifest, a file of another size, a checksum
            that fails.
        """
        while True:
            identity = _identity(path)
            try:
                store = _open(path)
            except UserError:
                if _identity(path) == identity:
                    raise
                continue
            if _identity(path) == identity:  # else it was replaced between its manifest and its last array
                break
        if verify:
            _verify(path)
        return store

    def positives(self, split: str) -> tuple[int, ...]:
        """Return the number of positive labels of each task in `split`, from the manifest."""
        return self.label_counts[split]

    def size_bytes(self) -> int:
        """Return the bytes that the store's files take."""
        return sum(file.stat().st_size for file in self.path.iterdir())


class StoreWriter:
    """Write one store by streaming; a context manager.

    Everything goes to a temporary sibling folder. `commit` brings it to disk and moves it into place in one step, over
    an older store too; leaving the block without it removes the folder, so that there is never half a store.

    Parameters
    ----------
    path
        Folder of the scenario, created with its parents.
    dataset, scenario
        Their names.
    fields, numeric, tasks
        Names and order of the columns of the arrays.
    schema_hash
        See `ScenarioStore`.
    users, probabilities
        Whether these optional arrays are stored.

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
    ) -> None:
        self.path = path
        self._dataset = dataset
        self._scenario = scenario
        self._fields = tuple(fields)
        self._numeric = tuple(numeric)
        self._tasks = tuple(tasks)
        self._schema_hash = schema_hash
        self._columns = {"categorical": len(fields), "numeric": len(numeric), "labels": len(tasks)}
        if users:
            self._columns["users"] = 0
        if probabilities:
            self._columns["probabilities"] = len(tasks)
        self._sizes = np.array([each.size for each in fields], dtype=np.int64)
        self._temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
        self._files = ExitStack()
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._rows = dict.fromkeys(SPLITS, 0)
        self._positives = {split: np.zeros(len(tasks), dtype=np.int64) for split in SPLITS}

    def __enter__(self) -> StoreWriter:
        with clear_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(self.path)
            self._temporary.mkdir()
            for split in SPLITS:
                for array in self._columns:
                    handle = (self._temporary / _file_name(split, array)).open("wb")
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
            Shapes do not match, a category lies outside its table, a number is not finite, a label is not 0 or 1.
        """
        given = {"categorical": categorical, "numeric": numeric, "labels": labels}
        given |= {} if users is None else {"users": users}
        given |= {} if probabilities is None else {"probabilities": probabilities}
        arrays = self._checked(given)
        with clear_errors(self.path):
            for name, values in arrays.items():
                self._streams[split, name].write(values)
        self._rows[split] += len(labels)
        self._positives[split] += arrays["labels"].sum(axis=0, dtype=np.int64)

    def commit(self, extra: Mapping[str, JSON] | None = None) -> ScenarioStore:
        """Bring all to disk, put it into place and open it.

        Parameters
        ----------
        extra
            Recorded in the manifest as it is.

        Raises
        ------
        UserError
            The disk is full or cannot be written.
        """
        with clear_errors(self.path):
            for stream in self._streams.values():
                stream.sync()
            self._files.close()
            with (self._temporary / MANIFEST).open("wb") as handle:
                handle.write(json.dumps(self._manifest(extra or {}), indent=1).encode())
                handle.flush()
                os.fsync(handle.fileno())
            sync_folder(self._temporary)
            put_in_place(self._temporary, self.path)
        return ScenarioStore.open(self.path)

    def _checked(self, given: Mapping[str, Array]) -> dict[str, Array]:
        if given.keys() != self._columns.keys():
            raise ValueError(f"got the arrays {sorted(given)}, expected {sorted(self._columns)}")
        rows = len(given["labels"])
        arrays: dict[str, Array] = {}
        for name, values in given.items():
            columns = self._columns[name]
            shape = (rows, columns) if name != "users" else (rows,)
            if values.shape != shape:
                raise ValueError(f"{name}: got the shape {values.shape}, expected {shape}")
            arrays[name] = np.ascontiguousarray(values, dtype=_DTYPES[name])
        if not np.isfinite(arrays["numeric"]).all():
            raise ValueError("numeric: not finite")
        if ((given["labels"] != 0) & (given["labels"] != 1)).any():
            raise ValueError("labels: not 0 or 1")
        if rows and ((given["categorical"] < 0) | (given["categorical"] >= self._sizes)).any():
            raise ValueError("categorical: a value outside its embedding table")
        return arrays

    def _manifest(self, extra: Mapping[str, JSON]) -> dict[str, Any]:
        return {
            "store_version": STORE_VERSION,
            "dataset": self._dataset,
            "scenario": self._scenario,
            "schema_hash": self._schema_hash,
            "fields": [{"name": f.name, "size": f.size, "federated": f.federated} for f in self._fields],
            "numeric": list(self._numeric),
            "tasks": list(self._tasks),
            "splits": {
                split: {
                    "rows": self._rows[split],
                    "positives": [int(count) for count in self._positives[split]],
                    "checksums": {array: self._streams[split, array].checksum() for array in self._columns},
                }
                for split in SPLITS
            },
            "extra": dict(extra),
        }


def list_scenarios(data_root: Path, dataset: str) -> list[ScenarioStore]:
    """Open every store of a data set, sorted by name; an empty list where there is none."""
    folder = data_root / dataset
    if not folder.is_dir():
        return []
    found = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    return [ScenarioStore.open(child) for child in found if (child / MANIFEST).is_file()]


def made_up_rows(store: ScenarioStore) -> str:
    """Say which rows of a store were made up when it was prepared; empty if none were."""
    negatives = store.extra.get("negatives")
    if not isinstance(negatives, dict):
        return ""
    return f"{negatives['task']}: {negatives['per_positive']} sampled negatives per positive, 0 in every task"


class _StoredField(Section):
    name: str
    size: int
    federated: bool


class _StoredSplit(Section):
    rows: int
    positives: list[int]
    checksums: dict[str, str]


class _Manifest(Section):
    store_version: int
    dataset: str
    scenario: str
    schema_hash: str
    fields: list[_StoredField]
    numeric: list[str]
    tasks: list[str]
    splits: dict[str, _StoredSplit]
    extra: dict[str, Any]

    def shape(self, split: str, array: str) -> tuple[int, ...]:
        """Return the shape of one array."""
        rows = self.splits[split].rows
        if array == "users":
            return (rows,)
        columns = {"categorical": len(self.fields), "numeric": len(self.numeric)}
        return rows, columns.get(array, len(self.tasks))


class _Stream:
    """A file that is written once, with its checksum computed on the way."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._digest = _new_digest()

    def write(self, values: Array) -> None:
        data = values.reshape(-1).view(np.uint8).data
        self._handle.write(data)
        self._digest.update(data)

    def sync(self) -> None:
        self._handle.flush()
        os.fsync(self._handle.fileno())

    def checksum(self) -> str:
        return self._digest.hexdigest()


def _new_digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _file_name(split: str, array: str) -> str:
    return f"{split}.{array}.bin"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(path: Path) -> ScenarioStore:
    manifest = _read_manifest(path)
    return ScenarioStore(
        path=path,
        dataset=manifest.dataset,
        scenario=manifest.scenario,
        fields=tuple(Field(each.name, each.size, each.federated) for each in manifest.fields),
        numeric=tuple(manifest.numeric),
        tasks=tuple(manifest.tasks),
        schema_hash=manifest.schema_hash,
        splits={split: _map_split(path, manifest, split) for split in SPLITS},
        extra=manifest.extra,
        label_counts={split: tuple(manifest.splits[split].positives) for split in SPLITS},
    )


def _read_manifest(path: Path) -> _Manifest:
    file = path / MANIFEST
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        name = path.parent.name
        raise UserError(
            f"no prepared data at {path}: run `pfmsmtrec prepare {name} --source DIR`, or give the right --data folder"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{file} is damaged (not JSON): prepare the data again") from None
    if not isinstance(document, dict):
        raise UserError(f"{file} is damaged (not a mapping): prepare the data again")
    version = document.get("store_version")
    if version != STORE_VERSION:
        raise UserError(f"{path}: prepared by store version {version}, this is {STORE_VERSION}: prepare again")
    manifest = parse(_Manifest, document, str(file))
    if missing := set(SPLITS) - manifest.splits.keys():
        raise UserError(f"{file} is damaged (no split {', '.join(sorted(missing))}): prepare the data again")
    return manifest


def _map_split(path: Path, manifest: _Manifest, split: str) -> Split:
    stored = manifest.splits[split].checksums
    arrays = {array: _map(path, manifest, split, array) for array in _DTYPES if array in stored}
    missing = {"categorical", "numeric", "labels"} - arrays.keys()
    if missing:
        raise UserError(f"{path / MANIFEST} is damaged (no array {', '.join(sorted(missing))}): prepare the data again")
    return Split(
        categorical=arrays["categorical"],
        numeric=arrays["numeric"],
        labels=arrays["labels"],
        users=arrays.get("users"),
        probabilities=arrays.get("probabilities"),
    )


def _map(path: Path, manifest: _Manifest, split: str, array: str) -> Array:
    file = path / _file_name(split, array)
    shape = manifest.shape(split, array)
    dtype = np.dtype(_DTYPES[array])
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    try:
        size = file.stat().st_size
        if size != expected:
            raise UserError(f"{file}: got {size} bytes, the manifest says {expected}: prepare the data again")
        if expected == 0:  # an empty file cannot be mapped
            empty = np.empty(shape, dtype=dtype)
            empty.flags.writeable = False
            return empty
        return np.asarray(np.memmap(file, dtype=dtype, mode="r", shape=shape))
    except OSError as error:
        raise UserError(f"cannot read {file} ({error.strerror}): prepare the data again") from None


def _verify(path: Path) -> None:
    manifest = _read_manifest(path)
    for split in SPLITS:
        for array, expected in manifest.splits[split].checksums.items():
            file = path / _file_name(split, array)
            if _file_checksum(file) != expected:
                raise UserError(f"{file}: its checksum differs from the manifest's, it is damaged: prepare again")


def _file_checksum(file: Path) -> str:
    digest = _new_digest()
    try:
        with file.open("rb") as handle:
            while chunk := handle.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise UserError(f"cannot read {file} ({error.strerror}): prepare the data again") from None
    return digest.hexdigest()


def _remove_stale(path: Path) -> None:
    """Remove what a killed writer left behind long ago."""
    for folder in path.parent.glob(f".{path.name}.*.tmp"):
        remove_if_stale(folder, _STALE_SECONDS)


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses in writing `path` into a user's error."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise UserError(f"disk full while writing {path}: free some space or give another --data folder") from None
        raise UserError(f"cannot write {path} ({error.strerror}): give a --data folder that you may write to") from None
