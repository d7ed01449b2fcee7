"""Processor time of a round by direct calls, in Flower's simulation, and on a SuperLink with a SuperNode per scenario.

    python benchmarks/engines.py      # some seven minutes on two cores

The four scenarios of the default conf run `pf-msmtrec` for a few rounds and for more of them. The difference is the
time of the rounds alone, without starts, the handshake and the test. It is that of all processes, and by the clock,
where all processes share this machine. The deployment is that of `pfmsmtrec deploy init`, with TLS and keys.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure, show
from rounds import family_seconds

from pfmsmtrec_flwr.flower_internals import HOME_VARIABLE
from pfmsmtrec_flwr.launch.app import app_folder
from pfmsmtrec_flwr.launch.processes import end_family

SCENARIOS = ("NL", "ES", "FR", "US")
ENGINES = {"inline": "direct calls", "flower": "Flower's simulation", "deployed": "a node per scenario"}
SETTINGS = ("train.device=cpu", "train.threads=1", "federation.patience=0", "federation.reference=[]")
WAITING = ("federation.node_timeout=600", f"federation.scenarios=[{','.join(SCENARIOS)}]")
SECONDS = 60.0


def run_engine(engine: str, rounds: int, place: Path) -> None:
    """Run the app by direct calls, in Flower's simulation, or deployed."""
    settings = [*SETTINGS, f"federation.rounds={rounds}"]
    if engine == "deployed":
        run_deployed([*settings, *WAITING], place / f"{engine}-{rounds}")
        return
    command = [sys.executable, "-m", "pfmsmtrec_flwr", "run", "--engine", engine]
    command += ["--output", str(place / f"{engine}-{rounds}"), "--data", str(place / "data")]
    command += [word for setting in [*settings, WAITING[0]] for word in ("--set", setting)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_deployed(settings: Sequence[str], home: Path) -> None:
    """Start the server and the sites of a new deployment, run the app there, and end them."""
    home.mkdir()
    environment = os.environ | {"HOME": str(home), HOME_VARIABLE: str(home / "deployment/server/flower")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    init = ["pfmsmtrec", "deploy", "init", "deployment", "--scenarios", ",".join(SCENARIOS), "--host", "127.0.0.1"]
    call([*init, "--port", str(port)], home, environment)
    try:
        start("server/start.sh", home, environment)
        wait_for(port)
        call(["sh", "deployment/server/register.sh"], home, environment)
        for scenario in SCENARIOS:
            start(f"sites/{scenario}/start.sh", home, environment)
        changes = f"output='{home / 'out'}' set='{' '.join(settings)}'"
        command = ["flwr", "run", str(app_folder()), "deployment", "--stream", "--run-config", changes]
        log = call(command, home, environment)
    finally:
        end_family(str(home))
    if "RUN COMPLETE" not in log:
        sys.exit(f"the deployed run has failed:\n{log[-3000:]}")


def call(command: Sequence[str], home: Path, environment: Mapping[str, str]) -> str:
    """Run a command in the folder of the deployment, and return what it printed."""
    done = subprocess.run(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return done.stdout


def start(script: str, home: Path, environment: Mapping[str, str]) -> None:
    """Start a script of the deployment, with a log beside it."""
    path = home / "deployment" / script
    with path.with_suffix(".log").open("w", encoding="utf-8") as log:
        subprocess.Popen(["sh", str(path)], cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT)


def wait_for(port: int) -> None:
    """Wait until somebody listens on a port."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"nobody listens on {port} after {SECONDS:.0f} s")
            time.sleep(0.2)
        else:
            return


def spent_by(action: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of all processors, and those of the clock, of an action."""
    started = time.perf_counter()
    processors = family_seconds(action)
    return processors, time.perf_counter() - started


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure the engines."""
    few, many = sorted(options.rounds)
    seconds, clock = {}, {}
    with TemporaryDirectory(prefix="pf-") as folder:
        place = Path(folder).resolve()
        run_engine("inline", 1, place)  # it makes up the data
        for engine in ENGINES:
            spent = [spent_by(partial(run_engine, engine, rounds, place)) for rounds in (few, many)]
            seconds[engine], clock[engine] = ((late - early) / (many - few) for early, late in zip(*spent, strict=True))
    for engine, what in ENGINES.items():
        yield Figure(f"a round of four scenarios, {what}", seconds[engine], "s")
        yield Figure(f"the same by the clock, {what}", clock[engine], "s")
    for engine, what in list(ENGINES.items())[1:]:
        yield Figure(f"{what} against direct calls", seconds[engine] / seconds["inline"], better="less")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command line."""
    parser.add_argument("--rounds", type=int, nargs=2, default=[2, 5], help="numbers of rounds of the two runs")


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users' processes keep their bytecode
    show("engines", lambda options: list(figures(options)), __doc__, add_options)
