"""Folders that results are written to: one run at a time, and a new one for each run without a name."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing, and hold it until the end; no file is left in it.

    Raises
    ------
    UserError
        Another process holds the folder, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process writes its results to {folder}: name another --output, or wait for it to end"
            ) from None
        except OSError:  # a file system that locks no folders, such as NFS
            logger.warning("%s cannot be locked: start no second run that writes its results there", folder)
        yield
    finally:
        os.close(descriptor)


def unused(folder: Path) -> Path:
    """Return the folder, or the first of ``folder-2``, ``folder-3``, ... that is not there, and make it.

    Raises
    ------
    UserError
        It cannot be made.
    """
    path, number = folder, 1
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
            path = folder.with_name(f"{folder.name}-{number}")
        except OSError as error:
            raise UserError(f"cannot write to {path}: {error.strerror}") from None
