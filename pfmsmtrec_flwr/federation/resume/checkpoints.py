"""Checkpoints of one method on disk, each in a folder of its own.

A folder has ``state.json``, ``tensors.safetensors`` and ``manifest.json``, the last of which is written last and has
the checksums of the others. The folder gets its name when all of it is on disk. The newest one that verifies counts.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save_file as save_arrays

from pfmsmtrec_flwr.data.store.disk import sync_file, sync_folder, write_synced
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume.state_tree import Arrays, join_state, split_state
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.private_files import make_private, open_private

KEPT_CHECKPOINTS = 3
"""Number of checkpoints that are kept."""
CHECKPOINT_FORMAT = 1
"""Version of the folder of a checkpoint."""

_STATE_NAME = "state.json"
_TENSORS_NAME = "tensors.safetensors"
_MANIFEST_NAME = "manifest.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State that was kept.

    Attributes
    ----------
    number
        Number of the exchange after which it was kept; 0: before the first one.
    state
        Tree of plain values and tensors.
    """

    number: int
    state: Mapping[str, Any]


class CheckpointFolder:
    """Checkpoints of one method of a run.

    Parameters
    ----------
    folder
        Folder of the checkpoints, made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, checkpoint: Checkpoint, about: Mapping[str, Any]) -> None:
        """Keep a checkpoint, and drop all but the last three.

        Parameters
        ----------
        checkpoint
            Checkpoint. One of its number, or of a later one, did not verify and is replaced.
        about
            What the manifest says beside the checksums, for people who look into it.

        Raises
        ------
        UserError
            The folder cannot be written. The checkpoints that are there stay.
        """
        final = self.folder / f"checkpoint-{checkpoint.number:06d}"
        unfinished = self.folder / f".{final.name}"
        document, arrays = split_state(checkpoint.state)
        manifest = {"format": CHECKPOINT_FORMAT, "exchange": checkpoint.number, **about}
        with clear_write_errors(final):
            make_private(self.folder)
            shutil.rmtree(unfinished, ignore_errors=True)
            make_private(unfinished)
            write_synced(unfinished / _STATE_NAME, json.dumps(document).encode())
            _write_arrays(unfinished / _TENSORS_NAME, arrays)
            manifest["sha256"] = {name: _checksum(unfinished / name) for name in (_STATE_NAME, _TENSORS_NAME)}
            write_synced(unfinished / _MANIFEST_NAME, json.dumps(manifest, indent=1).encode())
            sync_folder(unfinished)
            for number in self._numbers():
                if number >= checkpoint.number:
                    self._drop(number)
            unfinished.rename(final)
            sync_folder(self.folder)
            for number in self._numbers()[:-KEPT_CHECKPOINTS]:
                self._drop(number)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that verifies; None if there is none.

        Raises
        ------
        UserError
            There are checkpoints, and none of them verifies.
        """
        numbers = self._numbers()
        for number in reversed(numbers):
            try:
                return Checkpoint(number, _read(self._path(number)))
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                logger.warning("%s does not verify, and is passed over: %s", self._path(number), error)
        if numbers:
            raise UserError(f"no checkpoint in {self.folder} verifies: start the run anew in another folder")
        return None

    def next_number(self) -> int:
        """Return a number beyond those of all checkpoints that are there."""
        return max(self._numbers(), default=-1) + 1

    def clear(self) -> None:
        """Remove all checkpoints of the method."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _numbers(self) -> list[int]:
        found = [_NAME.fullmatch(child.name) for child in self.folder.glob("checkpoint-*")]
        return sorted(int(match[1]) for match in found if match)

    def _path(self, number: int) -> Path:
        return self.folder / f"checkpoint-{number:06d}"

    def _drop(self, number: int) -> None:
        """Remove a checkpoint, whose manifest goes first: what is left of it never verifies."""
        (self._path(number) / _MANIFEST_NAME).unlink(missing_ok=True)
        shutil.rmtree(self._path(number), ignore_errors=True)


@contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """Turn an error of the file system into one line that says how to go on.

    Raises
    ------
    UserError
        The disk is full, or cannot be written.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        what = "the disk is full: free some space" if full else f"{error.strerror or error}: make it writable"
        raise UserError(f"cannot write {path}, {what}, then resume the run") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all, and bring it to disk.

    Raises
    ------
    OSError
        The file system refuses.
    """
    unfinished = path.with_name(f".{path.name}")
    try:
        write_synced(unfinished, content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays from where they are, without a copy of all of them, and bring the file to disk.

    Raises
    ------
    OSError
        The file system refuses.
    """
    open_private(path).close()
    try:
        save_arrays(arrays, path)
    except SafetensorError as error:
        number = errno.ENOSPC if "No space left" in str(error) else None
        raise OSError(number, str(error)) from None
    sync_file(path)


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _read(folder: Path) -> Mapping[str, Any]:
    """Return the state in the folder of a checkpoint; raise one of the errors that `newest` knows if it is damaged."""
    manifest = json.loads((folder / _MANIFEST_NAME).read_bytes())
    if manifest["format"] != CHECKPOINT_FORMAT:
        raise ValueError(f"it has format {manifest['format']}, this version reads {CHECKPOINT_FORMAT}")
    for name in (_STATE_NAME, _TENSORS_NAME):
        if _checksum(folder / name) != manifest["sha256"][name]:
            raise ValueError(f"the checksum of {name} differs")
    document = json.loads((folder / _STATE_NAME).read_bytes())
    state: Mapping[str, Any] = join_state(document, load_arrays((folder / _TENSORS_NAME).read_bytes()))
    return state
