"""The reader of a store: opening reads the manifest and maps the arrays; no row is touched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.manifest import (
    DTYPES,
    JSON,
    MANIFEST,
    MISSING_LABEL,
    SPLITS,
    Field,
    Manifest,
    array_file,
    file_checksum,
    read_manifest,
)
from pfmsmtrec_flwr.data.store.versions import current_version
from pfmsmtrec_flwr.errors import UserError

_LABEL_ROWS = 1 << 22


@dataclass(frozen=True, slots=True)
class Split:
    """The rows of one split; all arrays have the same first axis."""

    categorical: Array
    """int32 (n, C); C is the number of fields if none has several columns."""
    numeric: Array
    """float32 (n, N), standardised."""
    labels: Array
    """uint8 (n, T): 0, 1, or `MISSING_LABEL` where `unlabelled` allows it."""
    users: Array | None
    """int64 (n,), for grouped metrics only."""
    probabilities: Array | None
    """float32 (n, T), the true probabilities of made-up data."""
    unlabelled: bool = False
    """Whether some rows have no label of some task; they do not count for that task."""

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def positives(self) -> list[int]:
        """Return the number of positive labels of each task."""
        ones = self.labels == 1 if self.unlabelled else self.labels
        counts: list[int] = ones.sum(axis=0, dtype=np.int64).tolist()
        return counts

    def labelled(self) -> list[int]:
        """Return the number of rows that have a label of each task."""
        if not self.unlabelled:
            return [len(self)] * int(self.labels.shape[1])
        counts: list[int] = (self.labels != MISSING_LABEL).sum(axis=0, dtype=np.int64).tolist()
        return counts

    def rows_of(self, task: int) -> slice | Array:
        """Return an index of the rows that have a label of a task, the column `task` of the labels."""
        return np.flatnonzero(self.labels[:, task] != MISSING_LABEL) if self.unlabelled else slice(None)

    def for_task(self, task: int) -> Split:
        """Return the rows that have a label of a task, in memory; the split itself if all rows have all labels."""
        rows = self.rows_of(task)
        return self if isinstance(rows, slice) else self.take(rows)

    def fraction(self, share: float, seed: int) -> Split:
        """Return a share of the rows, at least two, drawn at random and in their order; a share of 1 is the split."""
        if share >= 1:
            return self
        count = min(len(self), max(2, round(share * len(self))))
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:count]))

    def take(self, index: Array | slice) -> Split:
        """Return the rows whose numbers `index` holds, in memory, or those of a slice, as they lie."""
        users = None if self.users is None else self.users[index]
        truth = None if self.probabilities is None else self.probabilities[index]
        arrays = self.categorical[index], self.numeric[index], self.labels[index]
        return Split(*arrays, users, truth, self.unlabelled)


@dataclass(frozen=True, slots=True)
class ScenarioStore:
    """One scenario's prepared data, memory-mapped and read-only."""

    path: Path
    """Folder of the scenario."""
    dataset: str
    scenario: str
    fields: tuple[Field, ...]
    numeric: tuple[str, ...]
    tasks: tuple[str, ...]
    schema_hash: str
    """Equal for all scenarios of one data set that were prepared alike."""
    splits: Mapping[str, Split] = field(repr=False)
    extra: Mapping[str, JSON] = field(default_factory=dict, repr=False)
    """Entries that the writer recorded beside the rows."""
    label_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    """Positive labels of each task, by split."""
    labelled_rows: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    """Rows that have a label of each task, by split, where some rows have none."""
    checksums: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Checksum of each array's file, by split and name of the array."""
    version: str = ""
    """Name of the folder in `path` that holds the files; empty if they lie in `path` itself."""
    attached: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Checksum of each further file in `folder`, by its name: the encoders of the rows."""

    @classmethod
    def open(cls, path: Path, *, verify: bool = False) -> ScenarioStore:
        """Map the current version of a store; a version that replaces it later does not touch what is mapped.

        Parameters
        ----------
        path
            Folder of the scenario.
        verify
            Read every array and compare its checksum with the manifest. Versions and file sizes are always compared.

        Raises
        ------
        UserError
            There is no store, it is of another store version, its manifest is damaged, a file has another size, or a
            checksum differs.
        """
        version = current_version(path)
        while True:
            try:
                return _opened(path, version, verify)
            except UserError:
                newer = current_version(path)
                if newer == version:
                    raise
                version = newer  # a writer has replaced and removed the one before

    @property
    def folder(self) -> Path:
        """Folder of the files of the opened version."""
        return self.path / self.version

    def positives(self, split: str) -> tuple[int, ...]:
        """Return the number of positive labels of each task in `split`, from the manifest."""
        return self.label_counts[split]

    def labelled(self, split: str) -> tuple[int, ...]:
        """Return the number of rows of `split` that have a label of each task, from the manifest."""
        return self.labelled_rows.get(split, (len(self.splits[split]),) * len(self.tasks))

    def verify(self) -> None:
        """Compare the checksum of every file with the manifest.

        Raises
        ------
        UserError
            A checksum differs, or a file cannot be read.
        """
        expected = {
            array_file(self.folder, split, array): checksum
            for split, checksums in self.checksums.items()
            for array, checksum in checksums.items()
        }
        expected |= {self.folder / name: checksum for name, checksum in self.attached.items()}
        for file, checksum in expected.items():
            if file_checksum(file) != checksum:
                raise UserError(
                    f"{file}: its checksum differs from the manifest's, so the file is damaged: prepare again, "
                    f"`pfmsmtrec prepare {self.dataset} --source DIR`"
                )

    def check_labels(self) -> None:
        """Check that every label is 0 or 1, or missing where labels may be.

        Raises
        ------
        UserError
            One is not.
        """
        for name, split in self.splits.items():
            for start in range(0, len(split), _LABEL_ROWS):
                labels = split.labels[start : start + _LABEL_ROWS]
                wrong = labels[(labels > 1) & ~((labels == MISSING_LABEL) & split.unlabelled)]
                if len(wrong):
                    raise UserError(
                        f"{array_file(self.folder, name, 'labels')}: got the label {wrong[0]}, expected 0 or 1: "
                        f"prepare again, `pfmsmtrec prepare {self.dataset} --source DIR`"
                    )

    def size_bytes(self) -> int:
        """Return the bytes that the store's files take."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())


def made_up_rows(store: ScenarioStore) -> str:
    """Say which rows of a store were made up when it was prepared; empty if none were."""
    negatives = store.extra.get("negatives")
    if not isinstance(negatives, dict):
        return ""
    return f"{negatives['task']}: {negatives['per_positive']} sampled negatives per positive, 0 in every task"


def unlabelled_rows(store: ScenarioStore) -> str:
    """Say how many rows of a store have no label, by task; empty if all have all labels."""
    remarks = []
    for place, task in enumerate(store.tasks):
        lacking = {split: len(rows) - store.labelled(split)[place] for split, rows in store.splits.items()}
        if any(lacking.values()):
            counts = ", ".join(f"{split} {count:,}" for split, count in lacking.items() if count)
            remarks.append(f"{task}: {sum(lacking.values()):,} rows without a label do not count ({counts})")
    return "; ".join(remarks)


def _opened(path: Path, version: str, verify: bool) -> ScenarioStore:
    folder = path / version
    if not version and not (folder / MANIFEST).exists():
        raise UserError(
            f"no prepared data at {path}: run `pfmsmtrec prepare {path.parent.name} --source DIR`, "
            "or name the right folder with --data"
        )
    manifest = read_manifest(folder)
    store = ScenarioStore(
        path=path,
        dataset=manifest.dataset,
        scenario=manifest.scenario,
        fields=tuple(Field(each.name, each.size, each.federated, each.most) for each in manifest.fields),
        numeric=tuple(manifest.numeric),
        tasks=tuple(manifest.tasks),
        schema_hash=manifest.schema_hash,
        splits={split: _map_split(folder, manifest, split) for split in SPLITS},
        extra=manifest.extra,
        label_counts={split: tuple(manifest.splits[split].positives) for split in SPLITS},
        labelled_rows={split: tuple(counts) for split in SPLITS if (counts := _fewer_labels(manifest, split))},
        checksums={split: manifest.splits[split].checksums for split in manifest.splits},
        version=version,
        attached=manifest.attached,
    )
    if verify:
        store.verify()
    return store


def _map_split(folder: Path, manifest: Manifest, split: str) -> Split:
    arrays = {array: _map(folder, manifest, split, array) for array in manifest.splits[split].checksums}
    return Split(
        categorical=arrays["categorical"],
        numeric=arrays["numeric"],
        labels=arrays["labels"],
        users=arrays.get("users"),
        probabilities=arrays.get("probabilities"),
        unlabelled=bool(_fewer_labels(manifest, split)),
    )


def _fewer_labels(manifest: Manifest, split: str) -> list[int]:
    """Return the number of rows that have a label of each task; empty if all rows have all labels."""
    stored = manifest.splits[split]
    return stored.labelled if stored.labelled is not None and min(stored.labelled) < stored.rows else []


def _map(folder: Path, manifest: Manifest, split: str, array: str) -> Array:
    file = array_file(folder, split, array)
    shape = manifest.shape(split, array)
    dtype = np.dtype(DTYPES[array])
    expected = math.prod(shape) * dtype.itemsize
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
