"""Checkpoints of one method on disk, each in a folder of its own.

A folder has ``state.json``, ``tensors.safetensors`` and ``manifest.json``, the last of which is written last and has
the checksums of the others. The folder gets its name when all of it is on disk. The newest one that verifies counts.
Large tables lie beside the folders (`table_files`).
"""

from __future__ import annotations

import errno
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

from pfmsmtrec_flwr.data.store.disk import sync_folder, write_synced
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume.array_files import sha256_of, write_arrays
from pfmsmtrec_flwr.federation.resume.state_tree import join_state, split_state
from pfmsmtrec_flwr.federation.resume.table_files import ShortArrays, TableFiles
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.private_files import make_private

KEPT_CHECKPOINTS = 3
"""Number of checkpoints that are kept."""
CHECKPOINT_FORMAT = 2
"""Version of the folder of a checkpoint. In format 1 all tables lie in the folder."""

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
        self._tables = TableFiles(folder)

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
            short = self._tables.shortened(arrays)
            write_arrays(unfinished / _TENSORS_NAME, short.arrays)
            manifest["sha256"] = {name: sha256_of(unfinished / name) for name in (_STATE_NAME, _TENSORS_NAME)}
            manifest["tables"] = short.files
            write_synced(unfinished / _MANIFEST_NAME, json.dumps(manifest, indent=1).encode())
            sync_folder(unfinished)
            for number in self._numbers():
                if number >= checkpoint.number:
                    self._drop(number)
            unfinished.rename(final)
            sync_folder(self.folder)
            for number in self._numbers()[:-KEPT_CHECKPOINTS]:
                self._drop(number)
            self._tables.drop_all_but({file for number in self._numbers() for file in self._files_of(number)})

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
                return Checkpoint(number, self._read(self._path(number)))
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

    def _read(self, folder: Path) -> Mapping[str, Any]:
        """Return the state in a checkpoint's folder; raise one of the errors that `newest` knows if it is damaged."""
        manifest = json.loads((folder / _MANIFEST_NAME).read_bytes())
        if not 1 <= manifest["format"] <= CHECKPOINT_FORMAT:
            raise ValueError(f"it has format {manifest['format']}, this version reads up to {CHECKPOINT_FORMAT}")
        for name in (_STATE_NAME, _TENSORS_NAME):
            if sha256_of(folder / name) != manifest["sha256"][name]:
                raise ValueError(f"the checksum of {name} differs")
        document = json.loads((folder / _STATE_NAME).read_bytes())
        short = ShortArrays(load_arrays((folder / _TENSORS_NAME).read_bytes()), manifest.get("tables", {}))
        state: Mapping[str, Any] = join_state(document, self._tables.completed(short))
        return state

    def _files_of(self, number: int) -> Mapping[str, str]:
        """Return the files of whole tables to which a checkpoint refers; none if its manifest is damaged."""
        try:
            found: Mapping[str, str] = json.loads((self._path(number) / _MANIFEST_NAME).read_bytes()).get("tables", {})
        except (OSError, ValueError):
            return {}
        return found

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
