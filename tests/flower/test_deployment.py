"""The same app on a SuperLink and SuperNodes with TLS and keys, each a process of its own, over loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from http.client import HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from federated import same
from safetensors.torch import load_file

from pfmsmtrec_flwr.deploy import commands
from pfmsmtrec_flwr.deploy.initializing import write_deployment
from pfmsmtrec_flwr.deploy.layout import CONNECTION, Deployment
from pfmsmtrec_flwr.deploy.new_keys import node_key_at, public_line
from pfmsmtrec_flwr.federation.binding import binding_text
from pfmsmtrec_flwr.launch.processes import family

if TYPE_CHECKING:
    from real_flower import Expected, Flower

pytestmark = [
    pytest.mark.slow,
    pytest.mark.flower,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # of Flower
]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def wait_for(port: int, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on {port}"
            time.sleep(0.2)


class Machines:
    """The files of `deploy init`, and the processes of its start scripts; the end of `flower` ends them."""

    def __init__(self, flower: Flower, sites: Mapping[str, Sequence[str]]) -> None:
        self.flower = flower
        self.folder = flower.home / "deployment"
        link, *self.ports = free_ports(1 + len(sites))
        programs = Path(sys.executable).parent
        self.deployment = Deployment(tuple(sites), "127.0.0.1", link, self.folder, "nobody", programs)
        write_deployment(self.deployment, self.folder)
        for number, (site, scenarios) in enumerate(sites.items()):
            script = self.folder / "sites" / site / "start.sh"
            text = script.read_text().replace(f'scenarios=\\"{site}\\"', f'scenarios=\\"{",".join(scenarios)}\\"')
            port = f"--port {commands.FIRST_NODE_PORT + number}"
            assert port in text
            script.write_text(text.replace(port, f"--port {self.ports[number]}"))
        shutil.copy(self.folder / "server/flower/config.toml", flower.home / "config.toml")

    def bind(self, owners: Mapping[str, str]) -> None:
        """Bind each scenario to the key of a site."""
        lines = {name: self.line(site) for name, site in owners.items()}
        (self.folder / "server/binding.yaml").write_text(binding_text(lines))

    def line(self, site: str) -> str:
        return public_line(node_key_at(self.folder / "sites" / site / "node.key"))

    def start(self, script: str) -> None:
        log = (self.flower.home / f"{script.replace('/', '-')}.log").open("w")
        with log:
            subprocess.Popen(
                ["sh", str(self.folder / script)],
                cwd=self.flower.home,
                env=self.flower.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_server(self) -> None:
        self.start("server/start.sh")
        wait_for(self.deployment.port)
        registered = subprocess.run(
            ["sh", str(self.folder / "server/register.sh")],
            env=self.flower.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert registered.stdout.count("registered successfully") == len(self.ports), registered.stderr

    def run(self, settings: dict[str, str], app: Path | None = None) -> tuple[str, str]:
        return self.flower.run(settings, CONNECTION, app=app)

    def models(self, site: str) -> dict[str, dict[str, Any]]:
        """The models that the last run left at a site, by scenario."""
        *_, run = sorted((self.folder / "sites" / site / "state").iterdir(), key=lambda path: path.stat().st_mtime)
        folders = (run / "pf-msmtrec").iterdir()
        return {folder.name: load_file(folder / "model.safetensors") for folder in folders}

    def status_of_list(self, source: str) -> int:
        """HTTP status of a request of the control interface from an address of this machine."""
        trust = ssl.create_default_context(cafile=self.folder / "server/ca.pem")
        link = HTTPSConnection("127.0.0.1", self.deployment.port, source_address=(source, 0), context=trust)
        with closing(link):
            link.request("POST", "/v1/control/list-runs")
            return link.getresponse().status


def test_two_sites_a_stranger_and_an_app_that_nobody_approved(
    flower: Flower, expected: Expected, tmp_path: Path
) -> None:
    machines = Machines(flower, {"NL": ["NL", "ES"], "FR": ["FR", "US"], "stranger": ["ES"]})
    owners = {"NL": "NL", "ES": "NL", "FR": "FR", "US": "FR"}
    machines.bind(owners)
    machines.start_server()
    assert machines.status_of_list("127.0.0.2") == 403  # an address that may start no runs
    assert machines.status_of_list("127.0.0.1") not in (200, 403)  # let in; the request itself is empty
    machines.start("sites/NL/start.sh")
    machines.start("sites/stranger/start.sh")
    for port in (machines.ports[0], machines.ports[2]):
        wait_for(port)

    wanted = "federation.scenarios=[NL,ES,FR,US]"
    output = tmp_path / "out"
    settings = {"conf": str(expected.conf), "output": str(output)}
    missing = {"set": f"{wanted} federation.node_timeout=12", "output": str(tmp_path / "missing")}
    status, printed = machines.run(settings | missing)
    assert status.startswith("finished:failed"), printed
    # A slow machine's node may not have answered at all by then.
    assert re.search(r"UserError: scenario (ES, FR, NL|FR), US is hosted by no node after 12 s \(1 ", printed), printed
    assert re.search(r"left out: node \d+ \(stranger\), its key \w{12} is bound to no scenario", printed), printed

    machines.bind(owners | {"XX": "stranger"})  # now it is asked
    machines.start("sites/FR/start.sh")
    wait_for(machines.ports[1])
    kill_superexecs(flower.home)  # as a locked database does; they are started again
    status, printed = machines.run(settings | {"set": f"{wanted} federation.node_timeout=120"})
    assert status == "finished:completed", printed
    if "claims" in printed:  # a slow machine's stranger may not have answered before the others began
        assert re.search(r"left out: node \d+ claims scenario ES, and its key is bound to XX", printed), printed
    found = machines.models("NL") | machines.models("FR")
    assert {name: set(machines.models(name)) for name in ("NL", "FR")} == {"NL": {"NL", "ES"}, "FR": {"FR", "US"}}
    for site in ("NL", "FR"):
        assert len(list((machines.folder / "sites" / site / "data").glob("*/*/*/manifest.json"))) == 2
    assert not list((machines.folder / "sites/stranger/state").iterdir())
    inline = expected.output / "clients" / "pf-msmtrec"
    assert same(found, {folder.name: load_file(folder / "model.safetensors") for folder in inline.iterdir()})
    assert json.loads((output / "results.json").read_text())["scenarios"].keys() == {"ES", "FR", "NL", "US"}
    assert not (output / "clients").exists()
    assert not (flower.home / ".pfmsmtrec").exists()

    foreign = other_app(tmp_path / "foreign")
    status, printed = machines.run(settings | {"set": f"{wanted} federation.node_timeout=4"}, app=foreign)
    assert status.startswith("finished:failed"), printed
    assert "The FAB could not be verified" in printed, printed
    for site in ("NL", "FR"):
        apps = [path.name for path in (machines.folder / "sites" / site / "flower/apps").iterdir()]
        assert len(apps) == 1, apps  # the other one was not even unpacked


def kill_superexecs(home: Path) -> None:
    """Kill the processes that start server and client apps, of the SuperLink and of all sites."""
    killed = 0
    for pid in family(str(home)):
        with suppress(OSError):
            if b"superexec" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                killed += 1
    assert killed > 2


def other_app(folder: Path) -> Path:
    """A copy of the app's own files with one line more: somebody else's app, as far as a site can know."""
    from pfmsmtrec_flwr.launch.app import app_folder

    folder.mkdir()
    for name in ("client_app.py", "server_app.py", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(app_folder() / name, folder / name)
    for name in ("conf", "datasets"):
        shutil.copytree(app_folder() / name, folder / name)
    with (folder / "client_app.py").open("a") as file:
        file.write("\n# and something else\n")
    return folder
