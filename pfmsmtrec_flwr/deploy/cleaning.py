"""Removal of what ended runs left at a site."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pfmsmtrec_flwr.deploy.started import Started
from pfmsmtrec_flwr.errors import UserError

MODEL_NAME = "model.safetensors"
_LEFT = ("state-*.safetensors", "evaluated-*.safetensors", "table-*.safetensors")
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """Files or a folder that an ended run left.

    Attributes
    ----------
    path
        Folder of a scenario, or a file in it.
    size
        Bytes.
    """

    path: Path
    size: int

    def remove(self) -> None:
        """Remove it, and the folders above it that are empty then, up to the run's."""
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)
        for folder in list(self.path.parents)[:2]:
            if not any(folder.iterdir()):
                folder.rmdir()


def leftovers(folder: Path, idle_days: float) -> list[Leftover]:
    """Return what ended runs left at a site: states between exchanges, and scenarios that have no finished model.

    A run counts as going on while one of its files is younger than `idle_days`: each exchange writes some, and an
    exchange has a deadline of hours. Finished models stay.

    Parameters
    ----------
    folder
        Folder of the site.
    idle_days
        Age in days below which nothing of a run is touched, 1 at least.

    Raises
    ------
    UserError
        The folder is not that of a site, or `idle_days` is below 1.
    """
    if idle_days < 1:
        raise UserError(f"--idle-days is {idle_days:g}, expected 1 at least: a run's exchange may take hours")
    started = Started.of(folder)
    if started.kind != "supernode" or not (state := started.node_config.get("state", "")):
        raise UserError(f"{folder} is no site with a state folder")
    newest = time.time() - idle_days * _DAY
    runs = [run for run in sorted(Path(state).glob("*")) if run.is_dir() and run.name.isdecimal()]
    return [left for run in runs if _last_change(run) < newest for left in _left_by(run)]


def _left_by(run: Path) -> Iterator[Leftover]:
    for scenario in sorted(path for path in run.glob("*/*") if path.is_dir()):
        if not (scenario / MODEL_NAME).exists():
            yield Leftover(scenario, sum(path.stat().st_size for path in scenario.rglob("*") if path.is_file()))
            continue
        for pattern in _LEFT:
            yield from (Leftover(path, path.stat().st_size) for path in sorted(scenario.glob(pattern)))


def _last_change(run: Path) -> float:
    return max((path.lstat().st_mtime for path in [run, *run.rglob("*")]), default=0.0)
