"""Files of tensors of a scenario: each appears whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pfmsmtrec_flwr.data.store.disk import sync_folder
from pfmsmtrec_flwr.errors import UserError


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, which are read as they are used; changes of them stay in memory.

    Raises
    ------
    UserError
        The file is missing or damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): delete its folder and start the run again") from None


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file, and bring it to disk before it appears under its name.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    with errors_in_a_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def numbers_of(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    """Return the numbers, the first group of a pattern, in the names of a folder's files, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(match[1]) for file in folder.iterdir() if (match := pattern.fullmatch(file.name)))


@contextmanager
def errors_in_a_line(path: Path) -> Iterator[None]:
    """Say in one line why a file cannot be written."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        what = "the disk is full: free some space" if full else str(error)
        raise UserError(f"cannot write {path}: {what}") from None
