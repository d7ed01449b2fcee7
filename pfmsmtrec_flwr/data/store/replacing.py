"""Put a finished folder into the place of another in one step."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import time
import uuid
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_ATTEMPTS = 100


def put_in_place(new: Path, path: Path) -> None:
    """Move the folder `new` to `path` and remove what was there.

    On Linux the two folders are exchanged in one step, so that a reader always finds a whole one. Elsewhere the old one
    is moved aside first. Any number of processes may do it at once: the last one stays.

    Raises
    ------
    OSError
        As the file system gives it.
    """
    for _ in range(_ATTEMPTS):
        try:
            new.rename(path)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            break
        if _exchange(new, path):
            shutil.rmtree(new, ignore_errors=True)  # the old one now
            break
        _move_aside(path)
    else:
        raise OSError(errno.EBUSY, f"it was replaced {_ATTEMPTS} times meanwhile", str(path))
    sync_folder(path.parent)


def remove_if_stale(folder: Path, seconds: float) -> None:
    """Remove a folder in which nothing changed for so long; a younger one may still be in use."""
    try:
        newest = max(each.stat().st_mtime for each in (folder, *folder.iterdir()))
    except OSError:
        return  # its owner has just removed it
    if time.time() - newest > seconds:
        shutil.rmtree(folder, ignore_errors=True)


def sync_folder(path: Path) -> None:
    """Bring a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot, or `second` is gone."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library without it
        return False
    result = renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return bool(result == 0)


def _move_aside(path: Path) -> None:
    aside = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
    try:
        path.rename(aside)
    except FileNotFoundError:
        return  # another process was first
    shutil.rmtree(aside, ignore_errors=True)
