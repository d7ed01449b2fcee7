"""The same app on a SuperLink and SuperNodes, each a process of its own, over loopback."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from federated import same
from safetensors.torch import load_file

if TYPE_CHECKING:
    from real_flower import Expected, Flower

pytestmark = [pytest.mark.slow, pytest.mark.flower]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def launch(flower: Flower, name: str, *arguments: str) -> None:
    """Start a process that the end of `flower` ends."""
    log = (flower.home / f"{name}-{time.monotonic_ns()}.log").open("w")
    with log:
        subprocess.Popen(
            flower.command(name, *arguments),
            cwd=flower.home,
            env=flower.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for(port: int, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on {port}"
            time.sleep(0.2)


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_two_nodes_and_their_mistakes(flower: Flower, expected: Expected, tmp_path: Path) -> None:
    link, *ports = free_ports(4)
    launch(flower, "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(link))
    wait_for(link)
    address = f"127.0.0.1:{link}"
    (flower.home / "config.toml").write_text(f'[superlink.loopback]\naddress = "{address}"\ninsecure = true\n')

    def start_node(number: int, scenarios: str) -> None:
        own = f'scenarios="{scenarios}" data="{tmp_path / f"data {number}"}" state="{tmp_path / f"state {number}"}"'
        where = ("--superlink", address, "--port", str(ports[number]))
        launch(flower, "flower-supernode", "--insecure", *where, "--node-config", own)

    wanted = "federation.scenarios=[NL,ES,FR,US]"
    output = tmp_path / "out"
    settings = {"conf": str(expected.conf), "output": str(output)}
    start_node(0, "NL,ES")
    missing = {"set": f"{wanted} federation.node_timeout=12", "output": str(tmp_path / "missing")}
    status, printed = flower.run(settings | missing, "loopback")
    assert status.startswith("finished:failed"), printed
    # A slow machine's node may not have answered at all by then.
    assert re.search(r"UserError: scenario (ES, FR, NL|FR), US is hosted by no node after 12 s \(", printed), printed

    start_node(1, "FR,US")
    status, printed = flower.run(settings | {"set": wanted}, "loopback")
    assert status == "finished:completed", printed
    found: dict[str, Any] = {}
    for number, scenarios in ((0, {"NL", "ES"}), (1, {"FR", "US"})):
        (run,) = (tmp_path / f"state {number}").iterdir()
        folders = list((run / "pf-msmtrec").iterdir())
        assert {folder.name for folder in folders} == scenarios
        found |= {folder.name: load_file(folder / "model.safetensors") for folder in folders}
        assert len(list((tmp_path / f"data {number}").glob("*/*/*/manifest.json"))) == 2
    inline = expected.output / "clients" / "pf-msmtrec"
    assert same(found, {folder.name: load_file(folder / "model.safetensors") for folder in inline.iterdir()})
    assert json.loads((output / "results.json").read_text())["scenarios"].keys() == {"ES", "FR", "NL", "US"}
    assert not (output / "clients").exists()
    assert not (flower.home / ".pfmsmtrec").exists()

    start_node(2, "NL")
    twice = {"set": "federation.scenarios=[NL,FR,US] federation.rounds=1", "output": str(tmp_path / "twice")}
    wait_for(ports[2])  # it listens once it is known to the SuperLink, or a moment before
    status, printed = flower.run(settings | twice, "loopback")
    assert status.startswith("finished:failed"), printed
    assert "UserError: scenario NL is hosted by two nodes" in printed
