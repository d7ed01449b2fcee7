"""Run an app on Flower's own simulation engine, `flwr run` underneath, and leave nothing behind.

Flower's local SuperLink is a daemon that keeps the working directory and the environment of its first start and takes
the runs of every checkout on its port. Here each run gets a daemon of its own: private home, free port, neutral
directory, ended afterwards.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pfmsmtrec_flwr
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.launch.processes import end_family
from pfmsmtrec_flwr.log import logger

LOG_NAME = "flower.log"
DEFAULT_SUPERNODES = 2

_POLL_SECONDS = 0.5
_LIST_SECONDS = 3.0
_RUN_ID = re.compile(r"Successfully started run (\d+)")
_USER_ERROR = re.compile(r"\bUserError: (.+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = " \t│╭╮╰╯─"
# Ray's sockets lie some 65 characters below its folder, and a socket's path may have 107 (104 on macOS).
_LONGEST_RAY_FOLDER = 38

Setting = str | int | float | bool


def app_folder() -> Path:
    """Return the folder of this project's Flower app: the checkout that is installed with ``pip install -e .``.

    Raises
    ------
    UserError
        The package was installed without its checkout.
    """
    folder = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent
    if not (folder / "pyproject.toml").is_file() or not (folder / "server_app.py").is_file():
        raise UserError(
            f"no Flower app at {folder}: the package was installed without its checkout; "
            "clone the repository and `pip install -e .` in it"
        )
    return folder


def run_on_flower(
    app: Path,
    run_config: Mapping[str, Setting],
    *,
    num_supernodes: int | None,
    cpus_per_client: float | None,
    gpus_per_client: float | None,
    output: Path,
    on_poll: Callable[[], None],
) -> None:
    """Run `app` on Flower's simulation engine, and wait for its end.

    Parameters
    ----------
    app
        Folder of the Flower app.
    run_config
        Overrides of the app's run configuration; every key must be known to its pyproject.toml.
    num_supernodes
        Simulated SuperNodes; None leaves Flower's default of two.
    cpus_per_client, gpus_per_client
        What one client takes, which limits how many run at once. CPUs are whole numbers (Flower's rule), 1 when None.
        GPUs may be a share; None gives each client an equal share of the GPUs that are seen.
    output
        Folder for Flower's log, ``flower.log``; made when missing.
    on_poll
        Called about twice a second until the run has ended.

    Raises
    ------
    UserError
        The run did not complete, or could not start; the message is the app's own last `UserError` where it logged one.
    KeyboardInterrupt, SystemExit
        Ctrl-C, or a request to terminate, after everything that was started has ended.
    """
    federation = federation_config(num_supernodes, cpus_per_client, gpus_per_client)
    output.mkdir(parents=True, exist_ok=True)
    log = output / LOG_NAME
    with _terminable(), _private_home() as home:
        settings = home / "run-config.toml"
        settings.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in run_config.items()), encoding="utf-8")
        flower = _Flower.at(home)
        command = ["run", str(app), "--stream", "--run-config", str(settings), "--federation-config", federation]
        try:
            with log.open("w", encoding="utf-8") as stream:
                _wait(flower.start(command, stream.fileno()), on_poll)
            run_id = _run_id(log)
            status, details = flower.wait_for_end(run_id, on_poll) if run_id else ("not started", "")
        finally:
            _plain(log)
        if status != "finished:completed":
            reason = _reason(log, status, details)
            _append(log, home / "local-superlink" / "superlink.log")
            raise UserError(reason)
    on_poll()


def federation_config(num_supernodes: int | None, cpus_per_client: float | None, gpus_per_client: float | None) -> str:
    """Return the value of ``flwr run --federation-config``.

    >>> federation_config(4, 1, 0.25)
    'num-supernodes=4 client-resources-num-cpus=1 client-resources-num-gpus=0.25'

    Raises
    ------
    UserError
        No SuperNode, no whole number of CPUs, or a negative share of a GPU.
    """
    nodes = DEFAULT_SUPERNODES if num_supernodes is None else num_supernodes
    cpus = 1.0 if cpus_per_client is None else cpus_per_client
    if nodes < 1:
        raise UserError(f"got {nodes} SuperNodes, expected at least 1")
    if cpus < 1 or cpus != int(cpus):
        raise UserError(f"got {cpus:g} CPUs per client, expected a whole number of at least 1")
    gpus = gpu_share(nodes, int(cpus)) if gpus_per_client is None else gpus_per_client
    if not math.isfinite(gpus) or gpus < 0:
        raise UserError(f"got {gpus:g} GPUs per client, expected 0 or more, such as 0.25")
    parts = [f"client-resources-num-cpus={int(cpus)}", f"client-resources-num-gpus={gpus!r}"]
    if num_supernodes is not None:
        parts.insert(0, f"num-supernodes={num_supernodes}")
    return " ".join(parts)


def gpu_share(num_supernodes: int, cpus_per_client: int, *, gpus: int | None = None, cpus: int | None = None) -> float:
    """Return the GPUs of one client such that all that run at once fit; 0 without a GPU.

    Parameters
    ----------
    num_supernodes
        Simulated SuperNodes.
    cpus_per_client
        CPUs that one of them takes while it works.
    gpus, cpus
        How many there are; None: as seen on this machine.

    Examples
    --------
    >>> gpu_share(4, 1, gpus=1, cpus=16), gpu_share(3, 1, gpus=2, cpus=16), gpu_share(4, 1, gpus=0, cpus=16)
    (0.25, 0.5, 0.0)
    """
    gpus = _visible_gpus() if gpus is None else gpus
    cpus = (os.cpu_count() or 1) if cpus is None else cpus
    if gpus == 0:
        return 0.0
    at_once = max(1, min(num_supernodes, cpus // cpus_per_client))
    # Clients on one GPU; Ray counts shares in steps of 1e-4, so round down.
    return math.floor(1e4 / math.ceil(at_once / gpus)) / 1e4


def _visible_gpus() -> int:
    import torch  # seconds to import, and needed only here

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@dataclass(frozen=True, slots=True)
class _Flower:
    """The `flwr` command of this environment, speaking to a daemon of its own.

    Attributes
    ----------
    executable
        Its path.
    home
        Flower's private home; also the neutral working directory.
    environment
        What the daemon and everything below it see.
    """

    executable: Path
    home: Path
    environment: dict[str, str]

    @classmethod
    def at(cls, home: Path) -> _Flower:
        executable = _find_flwr()
        environment = os.environ | {
            "PATH": f"{executable.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "FLWR_HOME": str(home),
            "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(_free_port()),
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_TELEMETRY_ENABLED": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONUNBUFFERED": "1",  # or the log would stay empty until the end
        }
        environment.pop("RAY_ADDRESS", None)  # a cluster of somebody else's
        if len(str(home)) <= _LONGEST_RAY_FOLDER:
            environment["RAY_TMPDIR"] = str(home)
        return cls(executable, home, environment)

    def start(self, arguments: list[str], stream: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self.executable), *arguments],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only us, and we end the rest in order
        )

    def wait_for_end(self, run_id: str, on_poll: Callable[[], None]) -> tuple[str, str]:
        """Return the run's last status and its details; the exit status of `flwr run` says nothing of them."""
        while True:
            status, details = self._status(run_id)
            if status.startswith("finished"):
                return status, details
            _pause(_LIST_SECONDS, on_poll)

    def _status(self, run_id: str) -> tuple[str, str]:
        answer = subprocess.run(
            [str(self.executable), "list", "--run-id", run_id, "--format", "json"],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        ).stdout
        try:
            document = json.loads(answer[answer.index("{") :])
        except ValueError:
            return "finished:unknown", "Flower did not say how the run ended"
        if not document.get("success"):
            return "finished:unknown", str(document.get("error-message", ""))
        run = document["runs"][0]
        return str(run["status"]), str(run["status-details"])


def _find_flwr() -> Path:
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        if (found := shutil.which("flwr", path=folder)) is not None:
            return Path(found)
    raise UserError(f"no `flwr` command beside {sys.executable}: `pip install -e .` in the checkout brings it")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], on_poll: Callable[[], None]) -> None:
    try:
        while process.poll() is None:
            _pause(_POLL_SECONDS, on_poll)
    finally:
        process.kill()
        process.wait()


def _pause(seconds: float, on_poll: Callable[[], None]) -> None:
    on_poll()
    time.sleep(seconds)


@contextmanager
def _private_home() -> Iterator[Path]:
    """Give a folder of its own to Flower; at the end stop all that was started with it, and remove it."""
    home = Path(tempfile.mkdtemp(prefix="pfmsmtrec-")).resolve()
    try:
        yield home
    finally:
        with _uninterrupted():
            if not end_family(str(home)):
                logger.warning("some of Flower's processes did not end; find them by FLWR_HOME=%s", home)
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn a request to terminate into SystemExit, so that what was started is ended in order."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handlers({signal.SIGTERM: leave, signal.SIGHUP: leave}):
        yield


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let an impatient second Ctrl-C wait for the end of the cleaning up, which takes seconds."""
    with _handlers(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN)):
        yield


Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextmanager
def _handlers(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def started(log: Path) -> bool:
    """Tell by its log whether Flower has taken the run, and now starts or runs the app."""
    return bool(_run_id(log))


def _run_id(log: Path) -> str:
    match = _RUN_ID.search(_read(log))
    return match.group(1) if match else ""


def _plain(log: Path) -> None:
    """Take the terminal's colours out of a log."""
    log.write_text(_COLOUR.sub("", _read(log)), encoding="utf-8")


def _append(log: Path, more: Path) -> None:
    """Keep what the daemon logged about a run that failed."""
    if more.exists():
        log.write_text(f"{_read(log)}\n--- {more.name} ---\n{_read(more)}", encoding="utf-8")


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _reason(log: Path, status: str, details: str) -> str:
    text = _read(log)
    if told := _USER_ERROR.findall(text):
        return str(told[-1])
    if status == "not started":
        lines = [line for line in (line.strip(_FRAME) for line in text.splitlines()) if line]
        details = lines[-1] if lines else "`flwr run` said nothing"
    return f"the run failed on Flower ({status}): {details or 'no reason given'}; the log is {log}"


def _toml(value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # A JSON string is a TOML string, but for surrogates (so no escapes beyond ASCII) and this one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
