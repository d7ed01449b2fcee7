"""Workspace of a preparation: finished parts of an interrupted run, and records of the origin of stores."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from pfmsmtrec_flwr.data.prepare.spool import is_spool
from pfmsmtrec_flwr.data.schema.document import digest
from pfmsmtrec_flwr.data.store.disk import clear_errors, remove_if_stale, write_synced
from pfmsmtrec_flwr.data.store.manifest import MANIFEST
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.private_files import make_private

_FOLDER = ".prepare"
_STALE_SECONDS = 7 * 24 * 3600.0


class Workspace:
    """Working folder for scenarios that come from the same files; a context manager.

    It is removed at the end of the work. After an interruption the finished parts stay for a week, for the next run.

    Parameters
    ----------
    data_root, dataset
        The data set's stores lie in ``<data_root>/<dataset>/``.
    scenarios
        Names of the scenarios.

    Raises
    ------
    UserError
        Another process prepares them, or the folder cannot be written.
    """

    def __init__(self, data_root: Path, dataset: str, scenarios: Iterable[str]) -> None:
        self._dataset = data_root / dataset
        self._scenarios = sorted(scenarios)
        several = f"of-{len(self._scenarios)}-{digest(self._scenarios)[:8]}"
        self.path = self._dataset / _FOLDER / (self._scenarios[0] if len(self._scenarios) == 1 else several)
        self._locks = ExitStack()

    def __enter__(self) -> Workspace:
        with clear_errors(self.path):
            make_private(self._dataset)
            make_private(self.path.parent)
            for name in self._scenarios:
                self._lock(name)
            make_private(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self.path.iterdir():  # another run can use finished parts only
            if kind is None or child not in self.parts():
                shutil.rmtree(child, ignore_errors=True)
        if not self.parts():
            shutil.rmtree(self.path, ignore_errors=True)
        if kind is None:
            self._remove_stale()
        self._locks.close()
        for folder in (self.path.parent, self._dataset):  # removed only if empty
            with suppress(OSError):
                folder.rmdir()

    def _lock(self, scenario: str) -> None:
        """Lock a scenario. The lock file is removed with the lock."""
        path = self.path.parent / f"{scenario}.lock"
        while True:
            lock = os.open(path, os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                self._locks.close()
                raise UserError(
                    f"another process is preparing {scenario} in {self._dataset}: wait for it to end"
                ) from None
            with suppress(FileNotFoundError):
                if os.fstat(lock).st_ino == path.stat().st_ino:
                    break
            os.close(lock)  # its holder has removed the file meanwhile
        self._locks.callback(os.close, lock)
        self._locks.callback(path.unlink, missing_ok=True)  # callbacks run in reverse: removed while locked

    def _remove_stale(self) -> None:
        """Remove old parts of other interrupted runs."""
        for folder in self.path.parent.iterdir():
            if folder.is_dir() and folder != self.path:
                remove_if_stale(folder, _STALE_SECONDS)

    def part(self, fingerprint: str) -> Path:
        """Return the folder of one part."""
        return self.path / f"part-{fingerprint}"

    def parts(self) -> list[Path]:
        """Return the folders of all parts with a finished spool."""
        return sorted(part for part in self.path.glob("part-*") if any(map(is_spool, part.iterdir())))

    def keep_only(self, fingerprints: Iterable[str]) -> None:
        """Remove parts that come from other files or another schema."""
        kept = {self.part(fingerprint) for fingerprint in fingerprints}
        for folder in self.parts():
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def prepared_before(data_root: Path, dataset: str, scenario: str, fingerprint: str) -> ScenarioStore | None:
    """Return a scenario's store if its files, schema and contents are unchanged since it was prepared.

    Every array is compared with its checksum, so that a damaged store is prepared again. So is a store from a version
    that did not keep the encoders.
    """
    path = data_root / dataset / scenario
    try:
        record = json.loads(_record(path).read_text())
        if record != _description(ScenarioStore.open(path), fingerprint):
            return None
        store = ScenarioStore.open(path, verify=True)
        if not store.attached:
            logger.info(
                "%s: prepared by an earlier version, without encoders to score raw rows: prepared anew", scenario
            )
            return None
        return store
    except (OSError, ValueError, UserError):
        return None


def remember(store: ScenarioStore, fingerprint: str) -> None:
    """Record what a store was prepared from."""
    with clear_errors(store.path):
        make_private(_record(store.path).parent)
        write_synced(_record(store.path), json.dumps(_description(store, fingerprint)).encode())


def _description(store: ScenarioStore, fingerprint: str) -> dict[str, str]:
    return {"fingerprint": fingerprint, "manifest": digest((store.folder / MANIFEST).read_text())}


def _record(store: Path) -> Path:
    return store.parent / _FOLDER / f"{store.name}.json"
