"""Processor time of a round beyond its training, of many scenarios, and of Flower's engine.

    python benchmarks/rounds.py                            # two or three minutes on two cores
    python benchmarks/rounds.py --parts scenarios --scenarios 10 100 1000

Each measurement is a process of its own. Seconds are those of processors, of all processes that a run starts, so that
what else the machine does counts little. `training` is local training alone. The rest of a round is re-estimated
normalization statistics, measuring, and `overhead`: building models, state on disk, messages, aggregation and all else.

- `in-process`: rounds of the default conf by direct calls, and where their time goes.
- `scenarios`: rounds of many scenarios of 200 rows by direct calls, with the largest memory of the one process.
- `flower`: the default run in Flower's simulation against the same by direct calls, and against an empty Flower run,
  whose server sends each of two nodes one message.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import Figure, show

from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.federation import node, protocol
from pfmsmtrec_flwr.federation.client import client, measurements, state, trainer
from pfmsmtrec_flwr.federation.inprocess import own_client_app
from pfmsmtrec_flwr.federation.server import admission, exchange, whole_run
from pfmsmtrec_flwr.launch.engine import run_on_flower
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec

Seconds = dict[str, float]
PARTS = ("in-process", "scenarios", "flower")
NOT_OVERHEAD = ("training", "normalization statistics", "measuring")
STEPS: tuple[tuple[Any, str, str], ...] = (
    (trainer, "train_locally", "training"),
    (measurements, "refresh_statistics", "normalization statistics"),
    (measurements, "predict", "measuring"),
    (measurements, "measure", "measuring"),
    (client, "make_model", "building models"),
    (node, "open_scenario", "opening rows"),
    *((state.LocalState, name, "state on disk") for name in ("load", "save", "save_evaluated")),
    *((protocol.Delivery, name, "messages") for name in ("__init__", "to")),
    (node, "pack_replies", "messages"),
    (exchange, "pack_orders", "messages"),
    (admission.Admission, "of", "checking replies"),
    (PFMSMTRec, "aggregate", "aggregation"),
    (whole_run, "run_rounds", "rounds"),
)
"""Functions whose time is taken, and the step that each belongs to; of all but the last none calls another."""

EMPTY_APP = {
    "pyproject.toml": """
[project]
name = "empty"
version = "1.0.0"
license = { file = "LICENSE" }
dependencies = ["flwr[simulation]>=1.41.0"]
[tool.flwr.app]
publisher = "nobody"
fab-format-version = 1
flwr-version-target = "1.41.0"
[tool.flwr.app.components]
serverapp = "server_app:app"
clientapp = "client_app:app"
[tool.flwr.app.config]
""",
    "LICENSE": "None is needed.",
    "server_app.py": """
import time
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()
@app.main()
def main(grid, context):
    while len(nodes := list(grid.get_node_ids())) < 2:
        time.sleep(0.1)
    grid.send_and_receive([Message(RecordDict(), node, "query") for node in nodes])
""",
    "client_app.py": """
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
app = ClientApp()
@app.query()
def answer(message, context):
    return Message(RecordDict(), reply_to=message)
""",
}


@contextlib.contextmanager
def timed_steps() -> Iterator[Seconds]:
    """Take the processor time of the steps of `run_rounds`, and of all of it as ``rounds``."""
    spent: Seconds = defaultdict(float)
    within: list[str] = []

    def timed(original: Callable[..., Any], step: str) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if step != "rounds" and not within:
                return original(*args, **kwargs)
            within.append(step)
            started = time.process_time()
            try:
                return original(*args, **kwargs)
            finally:
                spent[step] += time.process_time() - started
                within.pop()

        return wrapper

    replaced = [(owner, name, getattr(owner, name), step) for owner, name, step in STEPS]
    for owner, name, original, step in replaced:
        setattr(owner, name, timed(original, step))
    try:
        yield spent
    finally:
        for owner, name, original, _ in replaced:
            setattr(owner, name, original)


def run_here(settings: Sequence[str]) -> None:
    """Run in this process, and print the steps' seconds of a round and the largest memory in MB."""
    own_client_app()  # it turns the log on
    logger.setLevel(logging.ERROR)
    common = ["train.device=cpu", "federation.patience=0", "federation.reference=[]"]
    config = load_config("synthetic", overrides=[*common, *settings])
    first = load_config("synthetic", overrides=[*common, f"data.synthetic={world(2)}", "federation.rounds=1"])
    with TemporaryDirectory() as folder:
        # What a process does once, such as imports, counts in no round.
        run_inline(first, data=Path(folder) / "few", output=Path(folder) / "first")
        with timed_steps() as spent:
            run_inline(config, data=Path(folder) / "data", output=Path(folder) / "run")
    per_round = {step: seconds / config.federation.rounds for step, seconds in spent.items()}
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    print(json.dumps(per_round | {"megabytes": peak / 1024}))


def world(scenarios: int) -> str:
    """Return the settings of made-up scenarios with 200 training rows each."""
    names = ", ".join(f"S{number:04d}: 200" for number in range(scenarios))
    return f"{{train_rows: {{{names}}}, validation_rows: 50, test_rows: 50, ctr: 0.5, conversions_per_click: 0.5}}"


def measured_run(settings: Sequence[str]) -> Mapping[str, float]:
    """Run in a process of its own; return the steps' seconds of a round, the overhead, and the largest memory in MB."""
    command = [sys.executable, __file__, "--run-here", *settings]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(printed.splitlines()[-1])
    figures["overhead"] = figures["rounds"] - sum(figures[step] for step in NOT_OVERHEAD)
    steps = dict.fromkeys(step for *_, step in STEPS[:-1])
    figures["all else"] = figures["rounds"] - sum(figures[step] for step in steps)
    return figures


def in_process_figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure rounds of the default conf by direct calls."""
    spent = measured_run([f"federation.rounds={options.rounds}"])
    yield Figure("in process: a round of four scenarios", spent["rounds"], "s")
    yield Figure("in process: overhead over training", spent["overhead"] / spent["training"], better="less")
    for step in dict.fromkeys([*(step for *_, step in STEPS[:-1]), "all else"]):
        yield Figure(f"in process: {step}", 100 * spent[step] / spent["rounds"], "% of a round")


def scenario_figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure rounds of many scenarios by direct calls."""
    for count in options.scenarios:
        quick = ["train.batch_size=64", "federation.draws=0", "data.verify=false", "federation.rounds=2"]
        spent = measured_run([f"data.synthetic={world(count)}", *quick])
        yield Figure(f"{count} scenarios: a round, per scenario", 1000 * spent["rounds"] / count, "ms")
        yield Figure(f"{count} scenarios: overhead per scenario", 1000 * spent["overhead"] / count, "ms")
        yield Figure(f"{count} scenarios: largest memory", spent["megabytes"], "MB")


def family_seconds(action: Callable[[], None]) -> float:
    """Return the processor seconds of all processes that an action starts, daemons included.

    They are read several times a second while the processes run: some of Flower's and of Ray's are killed in the end,
    or ended by parents that do not wait for them, and the system then forgets their times. What is left of processes of
    an action before, such as those that nobody waited for, does not count.
    """
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become children of this process
    before = descendant_ticks()
    seen: dict[tuple[int, int], int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            seen.update(descendant_ticks())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        action()
    finally:
        ended.set()
        watcher.join()
    return sum(ticks - before.get(process, 0) for process, ticks in seen.items()) / os.sysconf("SC_CLK_TCK")


def descendant_ticks() -> dict[tuple[int, int], int]:
    """Return the processor time of each process below this one, in ticks, by its number and start."""
    parents: dict[int, int] = {}
    ticks: dict[tuple[int, int], int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = file.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            number = int(file.parent.name)
            parents[number] = int(fields[1])
            ticks[number, int(fields[19])] = int(fields[11]) + int(fields[12])

    def is_below(number: int) -> bool:
        while (number := parents.get(number, 0)) > 1:
            if number == os.getpid():
                return True
        return False

    return {key: spent for key, spent in ticks.items() if is_below(key[0])}


def run_empty(place: Path) -> None:
    """Run an app in Flower's simulation that does next to nothing."""
    app = place / "app"
    app.mkdir()
    for name, text in EMPTY_APP.items():
        (app / name).write_text(text, encoding="utf-8")
    resources = {"num_supernodes": 2, "cpus_per_client": 1, "gpus_per_client": 0}
    run_on_flower(app, {}, **resources, output=place / "empty", on_poll=lambda: None)


def run_default(engine: str, place: Path) -> None:
    """Run what `pfmsmtrec run` runs; on a busy machine it waits longer for its nodes."""
    command = [sys.executable, "-m", "pfmsmtrec_flwr", "run", "--engine", engine]
    command += ["--output", str(place / engine), "--data", str(place / "data")]
    command += ["--set", "train.device=cpu", "--set", "federation.node_timeout=600"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def flower_figures(_: argparse.Namespace) -> Iterator[Figure]:
    """Measure the default run in Flower's simulation."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        direct = family_seconds(lambda: run_default("inline", place))  # it makes up the data
        empty = family_seconds(lambda: run_empty(place))
        whole = family_seconds(lambda: run_default("flower", place))
    yield Figure("empty Flower run", empty, "s")
    yield Figure("default run by direct calls, data made up", direct, "s")
    yield Figure("default run in Flower's simulation", whole, "s")
    yield Figure("default run against an empty Flower run", whole / empty, better="less", goal=2.0)
    yield Figure("default run against direct calls and an empty Flower run", whole / (direct + empty), better="less")


def measure(options: argparse.Namespace) -> Sequence[Figure]:
    """Measure the wanted parts."""
    measures = dict(zip(PARTS, (in_process_figures, scenario_figures, flower_figures), strict=True))
    return [figure for part in PARTS if part in options.parts for figure in measures[part](options)]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command line."""
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3, help="rounds in process")
    parser.add_argument("--scenarios", type=int, nargs="+", default=[10, 100], help="numbers of scenarios")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run-here"]:
        run_here(sys.argv[2:])
    else:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users' processes keep their bytecode
        show("rounds", measure, __doc__, add_options)
