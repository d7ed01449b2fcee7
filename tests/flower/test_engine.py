from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.launch.engine import run_on_flower
from pfmsmtrec_flwr.launch.processes import end_family, family
from pfmsmtrec_flwr.launch.run_log import FlowerLog

pytestmark = [pytest.mark.slow, pytest.mark.flower, pytest.mark.timeout(900)]

PYPROJECT = """
[project]
name = "probe"
version = "1.0.0"
description = "An app that says where it runs"
license = { file = "LICENSE" }
dependencies = ["flwr[simulation]>=1.41.0"]

[tool.flwr.app]
publisher = "tests"
fab-format-version = 1
flwr-version-target = "1.41.0"

[tool.flwr.app.components]
serverapp = "server_app:app"
clientapp = "client_app:app"

[tool.flwr.app.config]
output = ""
words = ""
fail = ""
seconds = 0.0
"""

SERVER = """
import json, os, time
from logging import ERROR
from pathlib import Path

from flwr.app import Message, MessageType, RecordDict
from flwr.common.logger import log
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    config = context.run_config
    seen = {"words": config["words"], "home": os.environ["FLWR_HOME"], "folder": os.getcwd()}
    if config["fail"]:
        (Path(config["output"]) / "seen.json").write_text(json.dumps(seen))
        log(ERROR, "UserError: %s", config["fail"])
        raise RuntimeError("the app failed")
    while len(nodes := sorted(grid.get_node_ids())) < 3:
        time.sleep(0.05)
    replies = list(grid.send_and_receive([Message(RecordDict(), node, MessageType.TRAIN) for node in nodes]))
    seen["replies"] = sum(not reply.has_error() for reply in replies)
    (Path(config["output"]) / "seen.json").write_text(json.dumps(seen))
    time.sleep(config["seconds"])
"""

CLIENT = """
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message, context):
    return Message(RecordDict(), reply_to=message)
"""

LAUNCH = """
import sys
from pathlib import Path
from pfmsmtrec_flwr.launch.engine import run_on_flower

app, output = Path(sys.argv[1]), Path(sys.argv[2])
settings = {"output": str(output), "seconds": 600.0}
resources = {"num_supernodes": 3, "cpus_per_client": 1, "gpus_per_client": 0}
run_on_flower(app, settings, **resources, output=output, on_poll=lambda: None)
"""


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    folder = tmp_path / "an app"
    folder.mkdir()
    files = {"pyproject.toml": PYPROJECT, "LICENSE": "", "server_app.py": SERVER, "client_app.py": CLIENT}
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def start(app: Path, output: Path, settings: dict[str, str], on_poll: Callable[[], None] = lambda: None) -> None:
    output.mkdir(exist_ok=True)
    run_on_flower(
        app,
        {"output": str(output), **settings},
        num_supernodes=3,
        cpus_per_client=1,
        gpus_per_client=0,
        output=output,
        on_poll=on_poll,
    )


def seen(output: Path) -> dict[str, str | int]:
    return dict(json.loads((output / "seen.json").read_text()))


def assert_nothing_left(home: str) -> None:
    assert family(home) == set()
    assert not Path(home).exists()


def test_a_run_beside_another_one_and_an_end_by_signal(probe: Path, tmp_path: Path) -> None:
    other = tmp_path / "another output"
    other.mkdir()
    process = subprocess.Popen([sys.executable, "-c", LAUNCH, str(probe), str(other)], start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while not (other / "seen.json").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        busy = str(seen(other)["home"])

        words = """it's "quoted", a=b [x] é \\ \x7f 🙂"""
        polls: list[None] = []
        output = tmp_path / "output"
        start(probe, output, {"words": words}, lambda: polls.append(None))
        result = seen(output)
        assert (result["words"], result["replies"]) == (words, 3)
        assert result["folder"] == result["home"] != busy
        assert len(polls) > 3
        assert_nothing_left(str(result["home"]))
        log = (output / "flower.log").read_text()
        assert FlowerLog(output / "flower.log").run_id
        assert "\x1b" not in log

        assert process.poll() is None, "the run beside it has been ended"
        assert len(family(busy)) > 3
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)
        assert process.returncode == 128 + signal.SIGTERM
        assert_nothing_left(busy)
    finally:
        process.kill()
        process.wait()
        if (other / "seen.json").exists():
            end_family(str(seen(other)["home"]))


def test_a_run_that_fails_says_what_the_app_said(probe: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with pytest.raises(UserError, match=r"^no scenario 'XX': give one of NL, US$"):
        start(probe, output, {"fail": "no scenario 'XX': give one of NL, US"})
    assert_nothing_left(str(seen(output)["home"]))
    log = (output / "flower.log").read_text()
    assert "RuntimeError: the app failed" in log
    assert "--- superlink.log ---" in log


def test_ctrl_c_while_flower_starts_leaves_nothing(
    probe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def interrupt() -> None:
        if FlowerLog(tmp_path / "output" / "flower.log").run_id:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(probe, tmp_path / "output", {}, interrupt)
    assert family(str(tmp_path)) == set()
    assert list(tmp_path.glob("pfmsmtrec-*")) == []


def test_a_run_that_flower_refuses_says_why(probe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\(not started\): .*Invalid run configuration.*; the log is .*flower\.log$"):
        start(probe, tmp_path / "output", {"no-such-key": "x"})
