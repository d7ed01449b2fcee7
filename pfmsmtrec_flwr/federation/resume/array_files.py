"""Files of arrays of a checkpoint, which only their owner may read."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import save_file as save_arrays

from pfmsmtrec_flwr.data.store.disk import sync_file
from pfmsmtrec_flwr.federation.resume.state_tree import Arrays
from pfmsmtrec_flwr.private_files import open_private


def write_arrays(path: Path, arrays: Arrays) -> None:
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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
