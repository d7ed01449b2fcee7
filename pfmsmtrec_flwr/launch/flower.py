"""Flower's command line as this project uses it: ``flwr run``, ``flwr list``, and the state of a run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.flower_internals import SUPERLINK_LOG, daemon_environment, listed_status, patient_flwr


@dataclass(frozen=True, slots=True)
class RunStatus:
    """State of a run.

    Attributes
    ----------
    status
        State in Flower's words, such as ``running`` or ``finished:completed``.
    details
        Reason of the state, if Flower gives one.
    """

    status: str
    details: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run has ended, well or not."""
        return self.status.startswith("finished")

    @property
    def completed(self) -> bool:
        """Whether the run has ended well."""
        return self.status == "finished:completed"

    @classmethod
    def parse(cls, listing: str) -> RunStatus:
        """Read the output of ``flwr list --format json`` for one run."""
        return cls(*listed_status(listing))


NOT_STARTED = RunStatus("not started")


@dataclass(frozen=True, slots=True)
class FlowerCommand:
    """The `flwr` command of this environment, connected to a daemon of its own.

    Attributes
    ----------
    executable
        Path of the command.
    home
        Private home of Flower, and neutral working directory.
    environment
        Environment of the daemon and of all processes below it.
    """

    executable: Path
    home: Path
    environment: dict[str, str]

    @classmethod
    def at(cls, home: Path) -> FlowerCommand:
        """Return the command for a private home."""
        executable = _find_flwr()
        environment = daemon_environment(home, _free_port())
        environment["PATH"] = f"{executable.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        environment["PYTHONUNBUFFERED"] = "1"  # otherwise the log would stay empty until the end
        return cls(executable, home, environment)

    @property
    def daemon_log(self) -> Path:
        """Log of the local SuperLink."""
        return self.home / SUPERLINK_LOG

    def run(self, app: Path, run_config: Path, federation: str, output: int) -> subprocess.Popen[bytes]:
        """Start ``flwr run``, which streams the run's log to a file descriptor."""
        settings = ["--run-config", str(run_config), "--federation-config", federation]
        return subprocess.Popen(
            [*patient_flwr(), "run", str(app), "--stream", *settings],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others in order
        )

    def status(self, run_id: str) -> RunStatus:
        """Return the state of a run; the exit status of ``flwr run`` does not show it."""
        listing = subprocess.run(
            [str(self.executable), "list", "--run-id", run_id, "--format", "json"],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        ).stdout
        return RunStatus.parse(listing)


def _find_flwr() -> Path:
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        if (found := shutil.which("flwr", path=folder)) is not None:
            return Path(found)
    raise UserError(f"no `flwr` command beside {sys.executable}: install pfmsmtrec-flwr with its dependencies")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
