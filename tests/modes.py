"""Modes of files and folders."""

from __future__ import annotations

import stat
from pathlib import Path


def open_to_others(folder: Path) -> list[str]:
    """Return the files and folders, the folder itself among them, that others than the owner may read or enter."""
    found = [folder, *sorted(folder.rglob("*"))]
    return [str(path.relative_to(folder.parent)) for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]
