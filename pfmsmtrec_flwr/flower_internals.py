"""Names of Flower that its interface does not promise; every other file uses Flower's public names only.

Public are `flwr.app`, `flwr.clientapp`, `flwr.serverapp`, `flwr.serverapp.strategy` and `flwr.simulation`. What this
file uses beyond them, and for what:

- `flwr.supercore.run.Run`: a grid must name the run that its messages belong to.
- `flwr.supercore.task_identity.TaskIdentity`: Flower makes messages only in a process that has an identity, which its
  server process sets before it calls a ServerApp.
- `Metadata._message_id`: Flower's grid numbers messages on their way; the grid of this project does so itself.
- Code 2 of an error, and node 1 of the server.
- `flwr.simulation.ray_transport.ray_actor`: the actors of a simulation, which Ray starts anew when their process dies.
- Environment variables of Flower's and Ray's processes, the log file of the local SuperLink, the line in which
  ``flwr run`` reports the number of a run, and the document of ``flwr list --format json``.

`tests/test_flower_internals.py` fails if one of them is gone, or if Flower has a minor version that is not among
`MADE_FOR`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Message
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

MADE_FOR = ("1.41", "1.42")
"""Minor versions of Flower in which these names were seen to work."""

FlowerRun = Run
"""Run that messages belong to."""

CLIENT_RAISED = 2
"""Code of the error with which a ClientApp that raised answers."""
SERVER_NODE = 1
"""Id of the server's node."""

HOME_VARIABLE = "FLWR_HOME"
PORT_VARIABLE = "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"
QUIET_VARIABLES = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # otherwise each run installs torch a second time
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
SUPERLINK_LOG = Path("local-superlink", "superlink.log")
"""Log of the local SuperLink, below Flower's home."""

# Ray's sockets lie some 65 characters below its folder, and the path of a socket may have 107 (104 on macOS).
_LONGEST_RAY_FOLDER = 38
_RUN_ID = re.compile(r"Successfully started run (\d+)")


def empty_run(run_id: int) -> FlowerRun:
    """Return a run of which only the number is known."""
    return FlowerRun.create_empty(run_id)


def number_message(message: Message, number: str) -> None:
    """Give a message its number, to which a reply refers."""
    message.metadata.__dict__["_message_id"] = number


@contextmanager
def run_identity(run_id: int) -> Iterator[None]:
    """Let messages be made in this process, as Flower's server process does before it calls a ServerApp."""
    before = (TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run_id, SERVER_NODE
    try:
        yield
    finally:
        TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id = before


def restart_dead_actors() -> None:
    """Let Ray start a simulation's actor anew when its process dies, and repeat the call that it was at.

    Flower's engine hands all further messages to the dead actor otherwise, whatever node they are for. The engine's
    process loads the ClientApp before it makes its actors; in any other process nothing is done.
    """
    if "flwr.simulation.app" not in sys.modules:
        return
    import ray
    from flwr.simulation.ray_transport import ray_actor

    class ClientAppActor(ray_actor.VirtualClientEngineActor):
        @ray.method(max_task_retries=0)
        def terminate(self) -> None:  # type: ignore[override]
            super().terminate()

    actor = ray.remote(max_restarts=-1, max_task_retries=1)(ClientAppActor)
    ray_actor.ClientAppActor = actor  # type: ignore[assignment,misc]


def daemon_environment(home: Path, port: int) -> dict[str, str]:
    """Return the environment of a SuperLink with a private home and a port of its own."""
    environment = os.environ | QUIET_VARIABLES | {HOME_VARIABLE: str(home), PORT_VARIABLE: str(port)}
    environment.pop("RAY_ADDRESS", None)  # it names somebody else's cluster
    if len(str(home)) <= _LONGEST_RAY_FOLDER:
        environment["RAY_TMPDIR"] = str(home)
    return environment


def run_id_in(output: str) -> str:
    """Return the run's number from the output of ``flwr run``; empty before Flower has taken the run."""
    match = _RUN_ID.search(output)
    return match.group(1) if match else ""


def listed_status(listing: str) -> tuple[str, str]:
    """Return state and reason of the run in the output of ``flwr list --run-id ID --format json``."""
    try:
        document: dict[str, Any] = json.loads(listing[listing.index("{") :])
    except ValueError:
        return "finished:unknown", "Flower did not say how the run ended"
    if not document.get("success"):
        return "finished:unknown", str(document.get("error-message", ""))
    run = document["runs"][0]
    return str(run["status"]), str(run["status-details"])
