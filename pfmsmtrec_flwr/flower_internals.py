"""Names of Flower that its interface does not promise; every other file uses Flower's public names only.

Public are `flwr.app`, `flwr.clientapp`, `flwr.serverapp`, `flwr.serverapp.strategy` and `flwr.simulation`. What this
file uses beyond them, and for what:

- `flwr.supercore.run.Run`: a grid must name the run that its messages belong to.
- `flwr.proto.node_pb2.NodeInfo`: what a grid returns of a node.
- `flwr.supercore.task_identity.TaskIdentity`: Flower makes messages only in a process that has an identity, which its
  server process sets before it calls a ServerApp.
- `Metadata._message_id`: Flower's grid numbers messages on their way; the grid of this project does so itself.
- Code 2 of an error, and node 1 of the server.
- `flwr.simulation.ray_transport.ray_actor`: the actors of a simulation, which Ray starts anew when their process dies.
- `flwr.supercore.privacy_accounting.GaussianPrivacyEvent`: what the public `RdpAccountant` counts.
- `flwr.cli.build.build_fab_from_disk`: the bundle that ``flwr run`` sends.
- `_pull_and_store_message` and `_verify_fab` of a SuperNode: where it asks for a message, fetches a run's bundle, and
  lets it run or not; and `subprocess.Popen`, with which it starts ``flower-superexec``.
- `flower_superexec`, `SubprocessExecutor.launch`, `run_clientapp` and its `install_from_fab`: what starts a client
  process for each message, what that process runs, and Flower's home (`get_flwr_home`).
- Defaults of `pull_objects` and `pull_and_inflate_object_from_tree`: how soon missing parts of a message are looked for
  again.
- `LOCAL_SUPERLINK_STARTUP_TIMEOUT` and `CONTROL_API_PROBE_TIMEOUT`: how long ``flwr run`` waits
  for its local SuperLink.
- `flwr.superlink.extensions.get_middleware`, through which all requests to a SuperLink pass, and its paths.
- `SQLITE_PRAGMAS`: how long a SuperLink waits for its database; and its `subprocess`, with which it starts the
  ``flower-superexec`` that starts server apps.
- Environment variables of Flower's and Ray's processes, the log file of the local SuperLink, the line in which
  ``flwr run`` reports the number of a run, and the document of ``flwr list --format json``.

`tests/test_flower_internals.py` fails if one of them is gone, or if Flower has a minor version that is not among
`MADE_FOR`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from flwr.app import Message
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

if TYPE_CHECKING:
    from flwr.supercore.privacy_accounting import GaussianPrivacyEvent
    from starlette.types import ASGIApp, Receive, Scope, Send

MADE_FOR = ("1.41", "1.42")
"""Minor versions of Flower in which these names were seen to work."""

FlowerRun = Run
"""Run that messages belong to."""
FlowerNode = NodeInfo
"""What a grid knows of a node."""

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
TASK_POLL_VARIABLE = "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"
"""Seconds between two looks of a SuperNode for a message that has no client process yet; 1 unless it is set."""
TASK_POLL_SECONDS = 0.25
ASK_SECONDS = 0.5
"""Seconds between two questions of a SuperNode for a message; Flower's three seconds cannot be set."""
BUSY_SECONDS = 600.0
"""Seconds after an answer in which a SuperNode asks that often."""
CLIENT_IMPORTS = (
    "flwr.supernode.runtime.run_clientapp",
    "flwr.clientapp",
    "httpcore",
    "safetensors.torch",
    "scipy.special",
    "torch",
)
"""What a client process imports before the app of its bundle. Nothing of this package: the bundle brings its own."""
UNPACKED = "unpacked"
"""Folder in a site's home of Flower with a file for each bundle that is unpacked: the folder where the app lies."""
START_SECONDS = 180
"""Seconds in which a local SuperLink must answer; Flower's fifteen are too few for a busy machine."""
SUPERLINK_LOG = Path("local-superlink", "superlink.log")
"""Log of the local SuperLink, below Flower's home."""

OBJECT_WAITS = {"initial_backoff": 0.05, "backoff_cap": 1.0, "max_tries_per_object": None, "max_time": 5000.0}
"""Seconds until a missing part of a message is looked for again, at first and at most, and until the search ends.

Flower ends it after 500 tries, which are ten seconds apart.
"""

LOCK_SECONDS = 60
"""Seconds for which a SuperLink waits for its locked database; Flower's five are too few for a busy disk."""
RESTART_SECONDS = 2.0
"""Pause before a SuperExec that has failed is started again."""

FLEET_PATHS = "/v1/fleet/"
"""Beginning of the paths by which SuperNodes speak with a SuperLink."""

# Ray's sockets lie some 65 characters below its folder, and the path of a socket may have 107 (104 on macOS).
_LONGEST_RAY_FOLDER = 38
_RUN_ID = re.compile(r"Successfully started run (\d+)")


def look_soon_for_objects() -> None:
    """Let this process look again within a second for the parts of a message that are not there yet.

    A message is announced before its parts have come. Flower looks for a part that is missing after one second, two,
    four, eight and ten, with as many parts at a time as there are cores: in a round of seconds that is most of it.
    """
    for pull in (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree):
        cast(Any, pull).__kwdefaults__ |= OBJECT_WAITS


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


def patient_flwr() -> list[str]:
    """Return the ``flwr`` command, whose local SuperLink may take `START_SECONDS` to start, and seconds to answer."""
    code = (
        "import sys; from flwr.cli import app, local_superlink as local; sys.argv[0] = 'flwr'; "
        f"local.LOCAL_SUPERLINK_STARTUP_TIMEOUT = {START_SECONDS}; local.CONTROL_API_PROBE_TIMEOUT = 5; app.app()"
    )
    return [sys.executable, "-P", "-c", code]


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


def build_bundle(folder: Path) -> bytes:
    """Return the bundle of an app's folder, byte for byte what ``flwr run`` sends."""
    from flwr.cli.build import build_fab_from_disk

    return build_fab_from_disk(folder)


def run_supernode(arguments: Sequence[str], trusts: Callable[[bytes], bool]) -> None:
    """Run a SuperNode in this process until it ends; a bundle that is not trusted never runs.

    It asks for messages sooner than Flower's does, see `prompt_pull`, and starts client processes sooner, as copies of
    one that has imported PyTorch, see `run_superexec`.

    Flower verifies a bundle when a run's first message comes, but only by records of its own registry, which a bundle
    from a folder lacks. Here the same step asks `trusts`, and the refusal is Flower's.

    Parameters
    ----------
    arguments
        Arguments of ``flower-supernode``.
    trusts
        Function that says whether the bytes of a bundle may run.
    """
    from flwr.supernode import start_client_internal as supernode
    from flwr.supernode.cli.flower_supernode import flower_supernode

    look_soon_for_objects()
    own_pull, verify = supernode._pull_and_store_message, supernode._verify_fab
    pull = prompt_pull(own_pull)
    os.environ.setdefault(TASK_POLL_VARIABLE, str(TASK_POLL_SECONDS))

    def checked_pull(*, get_fab: Callable[[str, int], Any], trusted_entities: Any, **others: Any) -> int | None:
        def vouched(fab_hash: str, run_id: int) -> Any:
            bundle = get_fab(fab_hash, run_id)
            bundle.verifications = {"valid_license": "Valid"} | bundle.verifications
            return bundle

        return pull(get_fab=vouched, trusted_entities=trusted_entities or {"site": ""}, **others)

    def start_superexec(command: Sequence[str]) -> subprocess.Popen[bytes]:
        code = f"from {__name__} import run_superexec; run_superexec()"
        return keep_running([sys.executable, "-P", "-c", code, *command[1:]])

    supernode._pull_and_store_message = cast(Any, checked_pull)
    cast(Any, supernode).subprocess = SimpleNamespace(Popen=start_superexec)
    supernode._verify_fab = lambda fab, trusted_entities: trusts(fab.content)  # noqa: ARG005 - Flower's names
    sys.argv = ["flower-supernode", *arguments]
    try:
        flower_supernode()
    finally:
        supernode._pull_and_store_message, supernode._verify_fab = own_pull, verify
        cast(Any, supernode).subprocess = subprocess


def run_superexec() -> None:
    """Run ``flower-superexec`` with this process's arguments, and let each client process be one of `ready_processes`.

    Flower's own client process imports PyTorch and Flower anew for every message. All else is as there: the process of
    the SuperExec is its parent, and a run's app comes from its bundle.
    """
    from flwr.supercore.cli.flower_superexec import flower_superexec
    from flwr.supercore.constant import TaskType
    from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
    from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResult
    from flwr.supercore.tls import validate_and_resolve_root_certificates

    processes, own_launch = ready_processes(), SubprocessExecutor.launch

    def launch(executor: SubprocessExecutor, spec: ExecutionSpec) -> LaunchResult:
        if spec.task_type is not TaskType.CLIENT_APP:
            return own_launch(executor, spec)
        certificates = validate_and_resolve_root_certificates(spec.root_certificates_path, spec.insecure)
        connection = (spec.runtime_api_address, spec.token, spec.insecure, certificates)
        of_process = (spec.parent_pid, spec.runtime_dependency_install)
        processes.Process(target=run_client, args=(*connection, *of_process), daemon=True).start()
        return LaunchResult.accepted()

    cast(Any, SubprocessExecutor).launch = launch
    flower_superexec()


def run_client(*arguments: Any) -> None:
    """Run a client process of Flower, with its arguments; it forgets this package before, as the bundle brings its own.

    It looks for its message sooner, see `look_soon_for_objects`, and unpacks the bundle of a run once: Flower unpacks
    it for every message, and drops what it has unpacked if the app is there.
    """
    from flwr.supercore.utils import get_flwr_home
    from flwr.supernode.runtime import run_clientapp

    look_soon_for_objects()
    client = cast(Any, run_clientapp)
    install = client.install_from_fab

    def install_once(bundle: bytes, **others: Any) -> Path:
        note = get_flwr_home() / UNPACKED / hashlib.sha256(bundle).hexdigest()
        if note.exists() and (known := Path(note.read_text(encoding="utf-8"))).is_dir():
            return known
        installed = Path(install(bundle, **others))
        note.parent.mkdir(exist_ok=True)
        note.write_text(str(installed), encoding="utf-8")  # all files are there
        return installed

    client.install_from_fab = install_once
    for name in [name for name in sys.modules if name.partition(".")[0] == __package__]:
        del sys.modules[name]
    client.run_clientapp(*arguments)


def ready_processes() -> ForkServerContext:
    """Return a maker of processes that are copies of one, started now, that has the `CLIENT_IMPORTS`.

    Neither that one nor its copies have imported anything of this package, as long as the main module of this process
    is no file: ``python -P -c``. `run_client`, which they run, imports this file and forgets it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(CLIENT_IMPORTS))
    forkserver.ensure_running()
    return context


def prompt_pull(pull: Callable[..., int | None]) -> Callable[..., int | None]:
    """Return a question for a message that is repeated for some minutes after an answer, until there is a message.

    Flower waits for three seconds wherever there is none, so a round would wait that long for the last of its sites.
    """
    answered, until = False, 0.0

    def pull_promptly(**arguments: Any) -> int | None:
        nonlocal answered, until
        if answered:
            until = time.monotonic() + BUSY_SECONDS
        while (run := pull(**arguments)) is None and time.monotonic() < until:
            time.sleep(ASK_SECONDS)
        answered = run is not None
        return run

    return pull_promptly


def run_superlink(arguments: Sequence[str], admits: Callable[[str], bool]) -> None:
    """Run a SuperLink in this process until it ends; only admitted addresses reach more than the sites' interface.

    Parameters
    ----------
    arguments
        Arguments of ``flower-superlink``.
    admits
        Function that says whether an address may start runs and do all else that SuperNodes do not.
    """
    from flwr.supercore import sql_mixin
    from flwr.superlink import extensions
    from flwr.superlink.cli.flower_superlink import flower_superlink
    from starlette.middleware import Middleware

    database, cli = cast(Any, sql_mixin), cast(Any, sys.modules[flower_superlink.__module__])
    others, pragmas = extensions.get_middleware, database.SQLITE_PRAGMAS
    extensions.get_middleware = lambda: (Middleware(SitesOnly, admits=admits), *others())
    database.SQLITE_PRAGMAS = (*pragmas, ("busy_timeout", str(LOCK_SECONDS * 1000)))
    cli.subprocess = SimpleNamespace(Popen=keep_running, TimeoutExpired=subprocess.TimeoutExpired)
    sys.argv = ["flower-superlink", *arguments]
    try:
        flower_superlink()
    finally:
        extensions.get_middleware, database.SQLITE_PRAGMAS, cli.subprocess = others, pragmas, subprocess


def keep_running(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a command, and start it again whenever it has failed; return the first process.

    A ``flower-superexec`` ends at the first request that fails, as when a database is locked for long. Without it a
    SuperLink accepts runs that never start, and a SuperNode messages that nobody answers.
    """

    def watch(process: subprocess.Popen[bytes]) -> None:
        while process.wait() != 0:
            time.sleep(RESTART_SECONDS)
            process = subprocess.Popen(command, **options)

    first = subprocess.Popen(command, **options)
    threading.Thread(target=watch, args=(first,), daemon=True).start()
    return first


def gaussian_event(noise: float) -> GaussianPrivacyEvent:
    """Return the release of one value with Gaussian noise, of a standard deviation per unit of sensitivity."""
    from flwr.supercore.privacy_accounting import GaussianPrivacyEvent

    return GaussianPrivacyEvent(noise_multiplier=noise, sample_size=1, population_size=1)


class SitesOnly:
    """Gate of a SuperLink: addresses that are not admitted reach the interface of the SuperNodes alone.

    Parameters
    ----------
    app
        Application behind the gate.
    admits
        Function that says whether an address is admitted.
    """

    def __init__(self, app: ASGIApp, admits: Callable[[str], bool]) -> None:
        self._app = app
        self._admits = admits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan" or scope["path"].startswith(FLEET_PATHS) or self._admits(_address(scope)):
            await self._app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        await PlainTextResponse("this address may not use the control interface", status_code=403)(scope, receive, send)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
