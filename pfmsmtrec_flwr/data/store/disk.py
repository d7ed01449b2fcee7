"""Folders and files on disk: bringing entries to disk, removing what was abandoned, clear errors."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.private_files import open_private


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn an error of the file system while writing `path` into an error for the user.

    Raises
    ------
    UserError
        The disk is full, or `path` cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise UserError(
                f"disk full while writing {path}: free some space, or name another folder with --data"
            ) from None
        raise UserError(
            f"cannot write {path} ({error.strerror}): name a folder with --data that you may write to"
        ) from None


def sync_folder(path: Path) -> None:
    """Bring the entries of a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Bring the content of a file to disk."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def write_synced(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, and bring it to disk."""
    with open_private(path) as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def remove_if_stale(folder: Path, seconds: float) -> None:
    """Remove a folder in which nothing has changed for `seconds`; a younger one may still be in use."""
    try:
        newest = max(each.stat().st_mtime for each in (folder, *folder.iterdir()))
    except OSError:
        return  # its owner has just removed it
    if time.time() - newest > seconds:
        shutil.rmtree(folder, ignore_errors=True)
