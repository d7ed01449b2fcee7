"""Flower's private names are used in one file, and are what they were when it was written."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flwr
import pytest
from flwr.app import Message, RecordDict
from flwr.supercore.constant import PULL_BACKOFF_CAP
from flwr.supercore.inflatable import inflatable_utils

import pfmsmtrec_flwr
from pfmsmtrec_flwr import flower_internals
from pfmsmtrec_flwr.flower_internals import (
    CLIENT_RAISED,
    FLEET_PATHS,
    HOME_VARIABLE,
    MADE_FOR,
    PORT_VARIABLE,
    QUIET_VARIABLES,
    TASK_POLL_VARIABLE,
    SitesOnly,
    empty_run,
    keep_running,
    look_soon_for_objects,
    number_message,
    patient_flwr,
    prompt_pull,
    run_id_in,
    run_identity,
)

ROOT = Path(pfmsmtrec_flwr.__file__).parent.parent
INTERNALS = Path(flower_internals.__file__)
FILES = sorted({*ROOT.glob("*.py"), *(ROOT / "pfmsmtrec_flwr").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")})
PUBLIC = {"flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy", "flwr.simulation"}
WORDS = (
    HOME_VARIABLE,
    PORT_VARIABLE,
    TASK_POLL_VARIABLE,
    *(name for name in QUIET_VARIABLES if name.startswith("FLWR_")),
    "local-superlink",
    "superlink.log",
    "Successfully started run ",
    "finished:completed",
    '"status-details"',
    '"error-message"',
    f"CLIENT_APP_RAISED_EXCEPTION = {CLIENT_RAISED}\n",
    "class VirtualClientEngineActor(",
    "actor_type=ClientAppActor,",
    "client_app = app_fn()",  # before the actors are made
    '"_message_id"',
    "time.monotonic() + LOCAL_SUPERLINK_STARTUP_TIMEOUT\n",
    "timeout=CONTROL_API_PROBE_TIMEOUT,\n",
)


def private_names(path: Path) -> Iterator[str]:
    """Private modules of Flower that a file imports, and its texts that name a variable of Flower's."""
    tree = ast.parse(path.read_text())
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            names = [word for word in ("FLWR_", "_message_id") if word in node.value]
            yield from names
            continue
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == "flwr" and name not in PUBLIC)


def test_the_installed_flower_is_one_that_the_private_names_were_made_for() -> None:
    installed = version("flwr")
    assert installed.rpartition(".")[0] in MADE_FOR, (
        f"Flower {installed} is installed, and {INTERNALS.name} was made for {', '.join(MADE_FOR)}: "
        "run tests/federation and tests/flower with it, then add its minor version to MADE_FOR"
    )


@pytest.fixture(scope="module")
def flowers_source() -> str:
    return "\n".join(path.read_text() for path in sorted(Path(flwr.__file__).parent.rglob("*.py")))


@pytest.mark.parametrize("word", WORDS)
def test_flower_still_has_the_name(flowers_source: str, word: str) -> None:
    hint = f"Flower {version('flwr')} has {word.strip()!r} no more, which {INTERNALS.name} uses (docstring: what for)"
    assert word in flowers_source, hint


def test_a_run_and_the_number_of_a_message_reach_flower() -> None:
    assert empty_run(7).run_id == 7
    with run_identity(7):
        message = Message(RecordDict(), 3, "train")
    number_message(message, "12")
    assert (message.metadata.message_id, message.metadata.run_id) == ("12", 7)
    with pytest.raises(RuntimeError, match="not set"):
        Message(RecordDict(), 3, "train")


def test_the_number_of_a_run_is_found_in_the_output() -> None:
    assert run_id_in("x\n🎊 Successfully started run 1234567\ny") == "1234567"
    assert run_id_in("Loading project configuration...") == ""


def test_a_missing_part_of_a_message_is_looked_for_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    pull_objects: Any = inflatable_utils.pull_objects
    inflating: Any = inflatable_utils.pull_and_inflate_object_from_tree
    for own in (pull_objects, inflating):
        monkeypatch.setattr(own, "__kwdefaults__", dict(own.__kwdefaults__))
    asked: list[str] = []

    def pull(name: str) -> bytes:
        asked.append(name)
        if asked.count(name) < 4:  # Flower's own waits add up to seven seconds
            raise inflatable_utils.ObjectUnavailableError(name)
        return name.encode()

    look_soon_for_objects()
    started = time.monotonic()
    assert pull_objects(["a"], pull) == {"a": b"a"}
    assert time.monotonic() - started < 3
    assert pull_objects.__kwdefaults__["max_time"] == 500 * PULL_BACKOFF_CAP  # Flower's own end


def test_the_patient_command_is_flowers_own() -> None:
    ended = subprocess.run([*patient_flwr(), "--version"], capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stdout.split()[-1]) == (0, version("flwr")), ended.stderr


@pytest.mark.parametrize("path", [path for path in FILES if path != INTERNALS], ids=lambda path: path.stem)
def test_no_other_file_uses_private_names(path: Path) -> None:
    assert list(private_names(path)) == []


def test_private_names_are_noticed(tmp_path: Path) -> None:
    modules = {"flwr.supercore.run", "flwr.supercore.task_identity", "flwr.simulation.ray_transport"}
    modules |= {"flwr.cli.build", "flwr.superlink", "flwr.superlink.cli.flower_superlink", "flwr.supercore"}
    modules |= {
        "flwr.supernode",
        "flwr.supernode.cli.flower_supernode",
        "flwr.supercore.privacy_accounting",
        "flwr.proto.node_pb2",
        "flwr.supercore.cli.flower_superexec",
        "flwr.supercore.constant",
        "flwr.supercore.superexec.executor.subprocess_executor",
        "flwr.supercore.superexec.executor.types",
        "flwr.supercore.tls",
        "flwr.supernode.runtime",
        "flwr.supercore.inflatable",
        "flwr.supercore.utils",
    }
    assert {*modules, "FLWR_", "_message_id"} == set(private_names(INTERNALS))
    file = tmp_path / "x.py"
    file.write_text("import flwr\nimport flwr.common as c\nfrom flwr.app import Message\n")
    assert list(private_names(file)) == ["flwr", "flwr.common"]


def test_launchers_hold_on_to_functions_that_flower_calls() -> None:
    """A gate beside the way would let everybody through, without a word."""
    root = Path(flwr.__file__).parent
    node = (root / "supernode" / "start_client_internal.py").read_text()
    assert "run_id = _pull_and_store_message(\n" in node
    assert "time.sleep(3)\n" in node  # the wait that `prompt_pull` makes shorter
    assert "fab_verified = _verify_fab(fab, trusted_entities)\n" in node
    assert "fab = get_fab(run_info.fab_hash, run_id)\n" in node
    link = (root / "superlink" / "cli" / "flower_superlink.py").read_text()
    assert "self.superexec_process = subprocess.Popen(command, **get_popen_detach_kwargs())\n" in link
    assert "    for pragma, value in SQLITE_PRAGMAS:\n" in (root / "supercore" / "sql_mixin.py").read_text()
    assert "*extensions.get_middleware(),\n" in (root / "superlink" / "main.py").read_text()
    for router in ("fleet", "control"):
        source = (root / "superlink" / "routers" / router / "router.py").read_text()
        assert f'prefix="/v1/{router}"' in source
    assert FLEET_PATHS == "/v1/fleet/"
    client = (root / "supernode" / "runtime" / "run_clientapp.py").read_text()
    assert "        install_from_fab(fab.content, skip_prompt=True)\n" in client
    assert "        if skip_prompt:\n            return install_path\n" in (root / "cli" / "install.py").read_text()


def test_a_superexec_that_fails_is_started_again_and_one_that_ends_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower_internals, "RESTART_SECONDS", 0.0)
    starts = tmp_path / "starts"
    script = tmp_path / "fails_twice.sh"
    script.write_text('echo >> "$1"; test "$(wc -l < "$1")" -ge 3\n')
    assert keep_running(["sh", str(script), str(starts)]).wait() == 1
    deadline = time.monotonic() + 60
    while len(starts.read_text()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert len(starts.read_text()) == 3


def test_a_node_asks_sooner_for_some_minutes_after_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    comes = {8.0: 7, 30.0: 8}  # the number of a run, by the time from which its message is there

    def pull(**arguments: Any) -> int | None:
        assert arguments == {"state": 1}
        ready = [moment for moment in comes if moment <= clock.now]
        return comes.pop(ready[0]) if ready else None

    prompt = prompt_pull(pull)
    assert prompt(state=1) is None  # before the first message it is Flower that waits
    assert clock.now == 0
    clock.now = 9.0
    assert prompt(state=1) == 7
    clock.now = 20.0
    assert prompt(state=1) == 8
    assert clock.now == 30.0
    assert prompt(state=1) is None
    assert clock.now == 30.0 + flower_internals.BUSY_SECONDS


@pytest.mark.parametrize(
    ("path", "address", "passed"),
    [
        ("/v1/fleet/pull-messages", "10.0.0.9", True),
        ("/v1/control/start-run", "10.0.0.9", False),
        ("/v1/runtime/push", "10.0.0.9", False),
        ("/v1/fleetcontrol", "10.0.0.9", False),
        ("/v1/control/start-run", "127.0.0.1", True),
        ("/docs", "", False),
    ],
)
def test_other_addresses_reach_the_interface_of_the_nodes_alone(path: str, address: str, passed: bool) -> None:
    reached: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - the form of ASGI
        reached.append(scope["path"])

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    gate = SitesOnly(app, admits=lambda found: found == "127.0.0.1")
    scope: Any = {"type": "http", "path": path, "method": "POST", "headers": []}
    if address:
        scope["client"] = (address, 5)
    asyncio.run(gate(scope, receive, send))
    assert reached == ([path] if passed else [])
    assert [message.get("status") for message in sent[:1]] == ([] if passed else [403])
