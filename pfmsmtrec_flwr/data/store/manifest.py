"""The format of a store: a manifest and flat arrays.

The folder of a version holds ``manifest.json`` and, for each split and array, ``<split>.<array>.bin``, row-major and
little-endian.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import Field as PydanticField

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import Section, parse

SPLITS = ("train", "validation", "test")
STORE_VERSION = 1
NO_USER = -1
"""User of a row without one."""
MISSING_LABEL = 255
"""Label of a row without one, in a task whose labels may be missing."""
MANIFEST = "manifest.json"
ENCODERS_NAME = "encoders.json"
VOCABULARIES_NAME = "vocabularies.safetensors"
"""Name of the learned vocabularies, which are there only if a field has one."""
DTYPES = {"categorical": "<i4", "numeric": "<f4", "labels": "|u1", "users": "<i8", "probabilities": "<f4"}
"""Type of each array's elements, by the name of the array."""

JSON: TypeAlias = str | int | float | bool | list["JSON"] | dict[str, "JSON"] | None


@dataclass(frozen=True, slots=True)
class Field:
    """One categorical field as stored."""

    name: str
    size: int
    """Rows of its embedding table; row 0 is reserved for unseen and missing values."""
    federated: bool
    """False: the table never leaves the scenario."""
    most: int = 1
    """Columns of the field: 1, or the largest number of values of a row. Then 0 is padding, and counts for nothing."""


class StoredField(Section):
    """A `Field` in the manifest."""

    name: str
    size: int
    federated: bool
    most: int = 1


class StoredSplit(Section):
    """One split in the manifest."""

    rows: int
    positives: list[int]
    """Positive labels of each task."""
    labelled: list[int] | None = None
    """Rows that have a label of each task; None: all have."""
    checksums: dict[str, str]
    """Checksum of each array's file, by the name of the array."""


class Manifest(Section):
    """Everything that a store says of its arrays."""

    store_version: int
    dataset: str
    scenario: str
    schema_hash: str
    fields: list[StoredField]
    numeric: list[str]
    tasks: list[str]
    splits: dict[str, StoredSplit]
    extra: dict[str, Any]
    """Entries that the writer recorded beside the rows."""
    attached: dict[str, str] = PydanticField(default_factory=dict)
    """Checksum of each further file, by its name."""

    def shape(self, split: str, array: str) -> tuple[int, ...]:
        """Return the shape of one array."""
        rows = self.splits[split].rows
        if array == "users":
            return (rows,)
        columns = {"categorical": sum(each.most for each in self.fields), "numeric": len(self.numeric)}
        return rows, columns.get(array, len(self.tasks))

    def to_json(self) -> bytes:
        """Return the content of the manifest's file."""
        document = self.model_dump()
        for each in document["fields"]:
            if each["most"] == 1:
                del each["most"]  # as before there were fields of several values
        for split in document["splits"].values():
            if split["labelled"] is None:
                del split["labelled"]  # as before labels could be missing
        if not self.attached:
            del document["attached"]  # as before there were further files
        return json.dumps(document, indent=1).encode()


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a version.

    Raises
    ------
    UserError
        There is none, it is damaged, or it is of another store version.
    """
    file = folder / MANIFEST
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file} ({error.strerror}): prepare the data again") from None
    except ValueError:
        raise UserError(f"{file} is damaged (not JSON): prepare the data again") from None
    if not isinstance(document, dict):
        raise UserError(f"{file} is damaged (not a mapping): prepare the data again")
    version = document.get("store_version")
    if version != STORE_VERSION:
        raise UserError(f"{folder}: prepared by store version {version}, this is {STORE_VERSION}: prepare again")
    manifest = parse(Manifest, document, str(file))
    for split in SPLITS:
        if split not in manifest.splits:
            raise UserError(f"{file} is damaged (no split {split}): prepare the data again")
        arrays = manifest.splits[split].checksums.keys()
        if wrong := ({"categorical", "numeric", "labels"} - arrays) | (arrays - DTYPES.keys()):
            names = ", ".join(sorted(wrong))
            raise UserError(f"{file} is damaged (array {names} missing or unknown): prepare the data again")
    return manifest


def array_file(folder: Path, split: str, array: str) -> Path:
    """Return the path of one array's file in a version's folder."""
    return folder / f"{split}.{array}.bin"


def new_checksum() -> hashlib.blake2b:
    """Return the checksum of no bytes, to be updated."""
    return hashlib.blake2b(digest_size=16)


def file_checksum(file: Path) -> str:
    """Return the checksum of a file.

    Raises
    ------
    UserError
        The file cannot be read.
    """
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, new_checksum).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {file} ({error.strerror}): prepare the data again") from None
