"""Break a run off at every operation on its files, resume it, and compare with a run that was never broken off.

A run on tiny made-up data, server and clients in one process, is broken off before its k-th operation on a file of the
run, for every k, and resumed in another process. Server and clients keep their tables as they keep large ones, and
models hold the rows in use. Parameters, predictions, `metrics.jsonl` and `results.json`, times left out, must be equal
to the bit, and no other file may be left.

    python benchmarks/kill_points.py            # every mode, every operation: some minutes
    python benchmarks/kill_points.py --every 9 --mode kill

Modes:

- kill: a run goes on from a copy of the files as they are before the operation, which is what a killed process leaves;
  a file that is being brought to disk has half of its content.
- twice: the process is killed (SIGKILL) in the same way, and so is the one that resumes.
- client: a client raises at an operation on its own files, and the server goes on to its end.
- full, read-only: from the k-th operation on, the disk is full, or cannot be written.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfmsmtrec_flwr import experiment
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.federation.client import table_copies, tensor_files, used_rows
from pfmsmtrec_flwr.federation.resume import table_files
from pfmsmtrec_flwr.federation.resume.run_checkpoints import is_broken_off
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods.configuration import load_config

MODES = ("kill", "twice", "client", "full", "read-only")
ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS}
REFUSED = 3
"""Exit status of a process that ended with a `UserError`."""

CONF = """
method: pf-msmtrec
data:
  name: synthetic
  synthetic:
    train_rows: {NL: 96, US: 64}
    validation_rows: 40
    test_rows: 40
    ctr: 0.3
    conversions_per_click: 0.4
model: {embedding_dim: 2, experts: 2, expert_layers: [4], tower_layers: [3]}
train: {batch_size: 32, device: cpu, embedding_optimizer: adagrad}
federation:
  {rounds: 2, retries: 0, patience: 0, node_timeout: 1, draws: 3, evaluate_consensus: true, reference: [alone]}
"""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"}


class Saboteur:
    """Counts the operations that change files below a folder, and acts on one of them.

    Parameters
    ----------
    folder
        Folder of the run.
    at
        Number of the operation, from 1; 0: none, they are only counted.
    mode
        One of `MODES`.
    copies
        Folder of copies of the files as they are before every operation; None: none are made.
    """

    def __init__(self, folder: Path, at: int, mode: str, copies: Path | None = None) -> None:
        self.copies = copies
        self.folder = str(folder / "clients" if mode == "client" else folder)
        self.at = at
        self.mode = mode
        self.count = self.tables = 0

    def install(self) -> None:
        """Watch this process from now on; there is no way back, so it is one that was forked for this."""
        sys.addaudithook(self._audited)
        fsync, save_file = os.fsync, vars(tensor_files)["save_file"]

        def watched_fsync(descriptor: int) -> None:
            self._operation(Path(f"/proc/self/fd/{descriptor}").readlink(), synced=True)
            fsync(descriptor)

        def watched_save(tensors: Any, path: Path) -> None:
            self._operation(path)  # it writes without Python
            save_file(tensors, path)

        vars(os)["fsync"] = watched_fsync
        vars(tensor_files)["save_file"] = watched_save

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (
            event == "open" and isinstance(arguments[0], str) and int(arguments[2] or 0) & _WRITING
        ):
            self._operation(arguments[0])

    def _operation(self, path: str | bytes | os.PathLike[str], *, synced: bool = False) -> None:
        if not os.fsdecode(path).startswith(self.folder):
            return
        self.count += 1
        self.tables += Path(os.fsdecode(path)).name.lstrip(".").startswith("table-")
        if self.copies is not None:
            copy = self.copies / str(self.count)
            shutil.copytree(self.folder, copy)
            if synced:
                cut(copy / Path(os.fsdecode(path)).relative_to(self.folder))
        if not self.at or self.count < self.at:
            return
        if self.mode in ERRORS:
            raise OSError(ERRORS[self.mode], os.strerror(ERRORS[self.mode]))
        if self.count > self.at:
            return
        if self.mode == "client":
            raise RuntimeError("the client is killed")
        if synced:
            cut(Path(os.fsdecode(path)))
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class World:
    """A configuration, its data, and what a run that was never broken off leaves."""

    config: RunConfig
    root: Path

    @classmethod
    def make(cls, root: Path, text: str = CONF) -> World:
        """Make up the data in a folder, and run to the end once."""
        conf = root / "conf.yaml"
        conf.write_text(text)
        world = cls(load_config(str(conf)), root)
        run_inline(world.config, data=root / "data", output=root / "whole")
        return world

    def operations(self, mode: str, copies: Path | None = None) -> int:
        """Return the number of operations of a whole run that a mode counts, and copy what is there before each."""
        output, counted = self.root / "counted", self.root / "count"
        output.mkdir()
        saboteur = Saboteur(output, 0, mode, copies)

        def run() -> None:
            saboteur.install()
            self._go_on(output)
            assert saboteur.tables, "no file of a large table was written"
            counted.write_text(str(saboteur.count))

        assert in_child(run) == 0
        shutil.rmtree(output)
        return int(counted.read_text())

    def differs(self, mode: str, at: int) -> str:
        """Break a run off, resume it, and return what differs from the whole run; empty if nothing does."""
        output = self.root / f"{mode}-{at}"
        first = self._broken(output, mode, at)
        if first not in ((-signal.SIGKILL,) if mode in ("kill", "twice") else (REFUSED, 0)):
            return f"ended with {first}"
        if mode == "twice":
            self._broken(output, "kill", 1 + at * 7 % 60)
        return self.differs_resumed(output)

    def differs_resumed(self, output: Path) -> str:
        """Resume a run that was broken off, unless it had finished, and return what differs from the whole run."""
        if not (output / "results.json").exists() and (status := in_child(lambda: self._go_on(output))):
            return f"cannot be resumed, status {status}"
        found, whole = contents(output), contents(self.root / "whole")
        shutil.rmtree(output)
        names = [name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name)]
        return ", ".join(sorted(names))

    def _broken(self, output: Path, mode: str, at: int) -> int:
        def run() -> None:
            Saboteur(output, at, mode).install()
            self._go_on(output)

        return in_child(run)

    def _go_on(self, output: Path) -> None:
        """Resume the run in a folder, or begin it where nothing was kept yet."""
        run_inline(self.config, data=self.root / "data", output=output, resume=is_broken_off(output))


def cut(file: Path) -> None:
    """Cut a file to half of its length; a folder stays."""
    if file.is_file():
        os.truncate(file, file.stat().st_size // 2)


def in_child(action: Callable[[], None]) -> int:
    """Run a function in a forked process, and return its exit status, or minus the signal that ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which do nothing here
        pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 4
    try:
        logger.setLevel(logging.CRITICAL)
        vars(table_copies).update(LARGE_ROWS=1)
        vars(used_rows).update(ROWS_PER_USE=0)
        vars(table_files).update(MANY_ROWS=1)
        vars(experiment).update(run_table=lambda _: None, as_text=lambda _: "")  # the table takes long, and is not read
        action()
        status = 0
    except UserError:
        status = REFUSED
    finally:
        os._exit(status)


def contents(output: Path) -> dict[str, object]:
    """Return what counts of the files of a run, by name: all of it but times and the checkpoints of a finished run."""
    files = [path for path in output.rglob("*") if path.is_file() and "checkpoints" not in path.parts]
    return {str(path.relative_to(output)): _content(path) for path in files}


def _content(path: Path) -> object:
    if path.name == "results.json":
        return {key: value for key, value in json.loads(path.read_text()).items() if key != "seconds"}
    if path.name == "metrics.jsonl":
        return [{**json.loads(line), "seconds": 0} for line in path.read_text().splitlines()]
    return path.read_bytes()


@contextmanager
def temporary_world() -> Iterator[World]:
    """Make a world in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="kill-points-")).resolve()
    try:
        yield World.make(folder)
    finally:
        shutil.rmtree(folder)


def main() -> int:
    """Print, for each mode, the number of runs that are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="break off at every N-th operation only")
    parser.add_argument("--mode", choices=MODES, help="one mode instead of all")
    options = parser.parse_args()
    logger.setLevel(logging.CRITICAL)
    failures = 0
    with temporary_world() as world:
        for mode in [options.mode] if options.mode else MODES:
            copies = world.root / "copies" if mode == "kill" else None
            points = range(1, world.operations(mode, copies) + 1, options.every)
            if copies is None:
                found = {at: world.differs(mode, at) for at in points}
            else:
                found = {at: world.differs_resumed(copies / str(at)) for at in points}
            wrong = {at: names for at, names in found.items() if names}
            print(f"{mode}: {len(points) - len(wrong)} of {len(points)} equal to the bit", flush=True)
            for at, names in wrong.items():
                print(f"  operation {at}: {names}")
            failures += len(wrong)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
