"""Runs of an app on Flower's simulation engine, by ``flwr run``; nothing is left behind.

Flower's local SuperLink is a daemon that keeps the working directory and the environment of its first start, and takes
the runs of every checkout on its port. Here each run gets a daemon of its own, with a private home, a free port and a
neutral directory, which ends with the run.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.launch.app import Setting, write_run_config
from pfmsmtrec_flwr.launch.flower import NOT_STARTED, FlowerCommand, RunStatus
from pfmsmtrec_flwr.launch.home import private_home
from pfmsmtrec_flwr.launch.interrupts import terminable
from pfmsmtrec_flwr.launch.resources import federation_config
from pfmsmtrec_flwr.launch.run_log import LOG_NAME, FlowerLog

_POLL_SECONDS = 0.5
_LIST_SECONDS = 3.0


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
        Number of simulated SuperNodes; None leaves Flower's default of two.
    cpus_per_client, gpus_per_client
        Resources of one client, which limit how many run at once. CPUs are whole numbers (Flower's rule), 1 when None.
        GPUs may be a share; None gives each client an equal share of the visible GPUs.
    output
        Folder of Flower's log, ``flower.log``; made when missing.
    on_poll
        Function that is called about twice a second until the run has ended.

    Raises
    ------
    UserError
        The run did not complete, or could not start; the message is the app's own last `UserError` where it logged one.
    KeyboardInterrupt, SystemExit
        Ctrl-C, or a request to terminate, after everything that was started has ended.
    """
    federation = federation_config(num_supernodes, cpus_per_client, gpus_per_client)
    output.mkdir(parents=True, exist_ok=True)
    log = FlowerLog(output / LOG_NAME)
    with terminable(), private_home() as home:
        settings = home / "run-config.toml"
        write_run_config(settings, run_config)
        flower = FlowerCommand.at(home)
        try:
            with log.path.open("w", encoding="utf-8") as stream:
                _wait_for_exit(flower.run(app, settings, federation, stream.fileno()), on_poll)
            run_id = log.run_id
            end = _wait_for_end(flower, run_id, on_poll) if run_id else NOT_STARTED
        finally:
            log.remove_colours()
        if not end.completed:
            reason = log.reason(end)
            log.append(flower.daemon_log)
            raise UserError(reason)
    on_poll()


def _wait_for_exit(process: subprocess.Popen[bytes], on_poll: Callable[[], None]) -> None:
    try:
        while process.poll() is None:
            _pause(_POLL_SECONDS, on_poll)
    finally:
        process.kill()
        process.wait()


def _wait_for_end(flower: FlowerCommand, run_id: str, on_poll: Callable[[], None]) -> RunStatus:
    while not (end := flower.status(run_id)).finished:
        _pause(_LIST_SECONDS, on_poll)
    return end


def _pause(seconds: float, on_poll: Callable[[], None]) -> None:
    on_poll()
    time.sleep(seconds)
