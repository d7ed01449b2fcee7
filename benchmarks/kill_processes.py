"""Kill real processes of runs at random moments, resume the runs, and compare with a run that was never broken off.

    python benchmarks/kill_processes.py --engine inline --victims all --times 6
    python benchmarks/kill_processes.py --engine flower --victims all,server,client --times 2

`pfmsmtrec run` is started on tiny made-up data. After a random checkpoint and a random pause the victim is killed
(SIGKILL): all processes of the run at once, as when a machine loses its power, the process of the server, or an actor
in which clients run. When all of the run has ended, `pfmsmtrec run --resume` goes on. Parameters, predictions,
`metrics.jsonl` and `results.json`, times left out, must be equal to the bit.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kill_points import CONF, contents

from pfmsmtrec_flwr.federation.resume.run_checkpoints import is_broken_off
from pfmsmtrec_flwr.launch.processes import end_family, family

VICTIMS = {"all": "", "server": "flwr-simulation", "client": "ray::ClientAppActor"}
"""Words in the command line of the processes that are killed; empty: all of the run's processes."""
ROUNDS = 6
_LONGEST = 900.0
_LOGS = {"flower.log", "inline.log"}


@dataclass(frozen=True)
class Runs:
    """Runs of one configuration below a folder, each with the same data."""

    root: Path
    engine: str
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def start(self, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
        """Start `pfmsmtrec run`; return its process, and a word that all of its processes have in their environment."""
        marker = f"kill-processes-{self.random.getrandbits(64):016x}"
        command = [sys.executable, "-m", "pfmsmtrec_flwr", "run", "--engine", self.engine, *arguments]
        environment = os.environ | {"PFMSMTREC_MARK": marker}
        with (self.root / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        return process, marker

    def finish(self, process: subprocess.Popen[bytes], marker: str) -> int:
        """Wait for the end of a run, and of whatever it has started."""
        try:
            return process.wait(_LONGEST)
        finally:
            end_family(marker)

    def broken_off(self, output: Path, victim: str) -> str:
        """Start a run, kill one of its processes, wait for its end, and return the moment in words.

        A run that ends before the moment, because Flower did not start in time, is started again.
        """
        exchange, pause = self.random.randrange(ROUNDS + 2), self.random.uniform(0.0, 1.0)
        awaited = output / "checkpoints" / "pf-msmtrec" / f"checkpoint-{exchange:06d}"
        while not awaited.exists():
            shutil.rmtree(output, ignore_errors=True)
            process, marker = self.start(*self._new(output))
            while process.poll() is None and not awaited.exists():
                time.sleep(0.005)
        time.sleep(pause)
        killed = [pid for pid in family(marker) if VICTIMS[victim] in command_line(pid)]
        for pid in killed if victim != "client" else killed[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.finish(process, marker)
        return f"{victim}: {len(killed)} processes, {pause:.2f} s after checkpoint {exchange}"

    def resume(self, output: Path) -> None:
        """Go on with a run that was broken off, or begin it where nothing was kept yet, until Flower starts in time."""
        while not (output / "results.json").exists():
            arguments = ["--resume", str(output)] if is_broken_off(output) else self._new(output)
            self.finish(*self.start(*arguments))

    def _new(self, output: Path) -> list[str]:
        return ["--conf", str(self.root / "conf.yaml"), "--data", str(self.root / "data"), "--output", str(output)]


def command_line(pid: int) -> str:
    """Return the command line of a process; a space where there is none any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") or " "
    except OSError:
        return " "


def main() -> int:
    """Print the outcome of each kill, and the number of runs that are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["inline", "flower"], default="inline")
    parser.add_argument("--victims", default="all", help="some of all, server, client, separated by commas")
    parser.add_argument("--times", type=int, default=6, help="kills of each victim")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="kp-")).resolve()
    runs = Runs(root, options.engine, random.Random(options.seed))
    conf = CONF.replace("rounds: 2", f"rounds: {ROUNDS}").replace("node_timeout: 1,", "node_timeout: 120,")
    (root / "conf.yaml").write_text(conf)
    whole = root / "whole"
    runs.resume(whole)
    expected = {name: content for name, content in contents(whole).items() if name not in _LOGS}
    outcomes = []
    for victim in options.victims.split(","):
        for number in range(options.times):
            output = root / f"{victim}-{number}"
            moment = runs.broken_off(output, victim)
            unfinished = not (output / "results.json").exists()
            if unfinished:
                runs.resume(output)
            found = {name: content for name, content in contents(output).items() if name not in _LOGS}
            names = [name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
            outcomes.append(not names and "results.json" in found)
            print(f"{moment}, {'resumed' if unfinished else 'had finished'}: {', '.join(names) or 'equal'}", flush=True)
    print(f"{options.engine}: {sum(outcomes)} of {len(outcomes)} equal to the bit")
    if all(outcomes):
        shutil.rmtree(root)
    return int(not all(outcomes))


if __name__ == "__main__":
    sys.exit(main())
