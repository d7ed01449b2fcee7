"""Files and folders that only their owner may read, for everything that holds rows: stores, predictions, scores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
FOLDER_MODE = 0o700


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter. One that exists keeps its mode; missing ones above it are open.

    Raises
    ------
    OSError
        The file system refuses.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def open_private(path: Path) -> BinaryIO:
    """Open a file for writing, which only its owner may read if it is new.

    Raises
    ------
    OSError
        The file system refuses.
    """
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, FILE_MODE))
