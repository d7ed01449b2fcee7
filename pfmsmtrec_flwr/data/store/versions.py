"""Versions of a scenario's store: one folder each, and a pointer file that names the current one.

Layout of ``<data_root>/<dataset>/<scenario>/``: ``current``, a file that holds the name of the version's folder;
``version-<12 hex digits>/``, the files of that version; ``lock``, held while a version is published. A new version is
brought to disk before the pointer file is swapped in one step, so that a crash at any point leaves the old or the new
version whole. The writer then removes all other versions. A reader has mapped its files, which on Linux stay readable
after they are removed. Writers publish one after the other, and the last one wins.

pfmsmtrec 0.1 kept the files in the scenario's folder itself, without a pointer file; such a store is read as it is.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pfmsmtrec_flwr.data.store.disk import sync_folder, write_synced
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.private_files import make_private, open_private

CURRENT = "current"
_LOCK = "lock"
_NAME = re.compile(r"version-[0-9a-f]{12}")


def current_version(path: Path) -> str:
    """Return the name of the current version's folder in the scenario's folder `path`.

    The name is empty where there is no pointer file.

    Raises
    ------
    UserError
        The pointer file cannot be read, or holds no such name.
    """
    pointer = path / CURRENT
    try:
        name = pointer.read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UserError(f"cannot read {pointer} ({error.strerror}): prepare the data again") from None
    if not _NAME.fullmatch(name):
        raise UserError(f"{pointer} is damaged (it names no version): prepare the data again")
    return name


def publish(finished: Path, path: Path) -> None:
    """Make a finished folder, already on disk, the current version in `path`, and remove all others.

    Raises
    ------
    OSError
        The file system refuses.
    """
    make_private(path)
    with _locked(path):
        version = path / f"version-{uuid.uuid4().hex[:12]}"
        finished.rename(version)
        sync_folder(path)
        _point_to(version)
        for entry in path.iterdir():
            if entry.name not in {CURRENT, _LOCK, version.name}:
                _remove(entry)
    sync_folder(path.parent)


def _point_to(version: Path) -> None:
    new = version.with_name(f"{CURRENT}.tmp")
    write_synced(new, f"{version.name}\n".encode())
    new.replace(version.with_name(CURRENT))
    sync_folder(version.parent)


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a scenario's folder; it ends with the process too."""
    with open_private(path / _LOCK) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
