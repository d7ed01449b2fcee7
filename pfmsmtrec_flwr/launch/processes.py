"""Finding and ending of a whole family of processes that detach from their parent.

Flower's local SuperLink, its executor, the simulation and Ray start sessions of their own, so that neither a process
group nor the tree below one process holds them all. They share an environment variable, which they inherit from the
first of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One running process.

    Attributes
    ----------
    pid, parent
        Number of the process and of its parent.
    words
        Environment and command line, as far as they can be read.
    """

    pid: int
    parent: int
    words: str


def family(marker: str) -> set[int]:
    """Return the processes that carry `marker` in environment or command line, and all their descendants.

    The calling process is never among them.
    """
    running = _running()
    found = {process.pid for process in running if marker in process.words}
    grown = True
    while grown:  # a process with a title hides its environment, and is found through its parent
        children = {process.pid for process in running if process.parent in found} - found
        found |= children
        grown = bool(children)
    return found - {os.getpid()}


def end_family(marker: str, *, grace: float = 3.0, limit: float = 20.0) -> bool:
    """End every process of `family(marker)`: by SIGTERM at first, then by SIGKILL.

    Parameters
    ----------
    marker
        Text that no other process has in its environment, such as the path of a private folder.
    grace
        Seconds between SIGTERM and SIGKILL.
    limit
        Seconds after which the attempt ends.

    Returns
    -------
    bool
        Whether none of them is left.
    """
    started = time.monotonic()
    ever: set[int] = set()
    while (elapsed := time.monotonic() - started) < limit:
        # A child is no longer found through a parent that has just ended, so every process seen is remembered.
        alive = family(marker) | _still(ever)
        if not alive:
            return True
        _send(alive, signal.SIGKILL if elapsed > grace else signal.SIGTERM)
        ever |= alive
        time.sleep(0.1)
    return False


def _still(pids: Collection[int]) -> set[int]:
    """Return the processes of `pids` that still run; numbers are not reused within seconds."""
    return {process.pid for process in _running() if process.pid in pids} if pids else set()


def _send(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _running() -> list[Process]:
    return _from_proc() if (_PROC / "self" / "stat").exists() else _from_ps()


def _from_proc() -> list[Process]:
    processes = []
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        with suppress(OSError):  # it ended meanwhile, or belongs to another user
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state in "ZX":  # it has ended, and its parent has not noticed yet
                continue
            words = (folder / "environ").read_bytes() + b" " + (folder / "cmdline").read_bytes()
            processes.append(Process(int(folder.name), int(parent), words.decode(errors="replace")))
    return processes


def _from_ps() -> list[Process]:
    """Read the processes where there is no /proc (macOS): `-E` prints the environment after the command."""
    listing = subprocess.run(
        ["ps", "-axww", "-E", "-o", "pid=,ppid=,stat=,command="], capture_output=True, text=True, check=False
    ).stdout
    rows = (line.split(maxsplit=3) for line in listing.splitlines())
    return [Process(int(row[0]), int(row[1]), row[3]) for row in rows if len(row) == 4 and not row[2].startswith("Z")]
