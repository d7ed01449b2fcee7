"""Record what every method computes, and check later that it still computes the same, bit for bit.

Run `record` before code moves and `check` afterwards, on the same machine: the last bits of the arithmetic differ from
machine to machine, so recorded values are not kept with the project.

    python benchmarks/pins.py record pins.json
    python benchmarks/pins.py check pins.json

Recorded are, for each method on tiny made-up data and for PF-MSMTrec with each of its parts turned: the SHA-256 of
every scenario's final parameters, `results.json` and `metrics.jsonl` without times and versions; and `summary.json` of
a small comparison without times, folders and names of settings. `check` prints each value that differs and exits with
status 1 if there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors.numpy import load_file

CONF = {
    "data": {
        "name": "synthetic",
        "synthetic": {
            "train_rows": {"ES": 700, "NL": 1200, "US": 400},
            "validation_rows": 600,
            "test_rows": 800,
            "ctr": 0.3,
            "conversions_per_click": 0.4,
        },
    },
    "model": {"embedding_dim": 4, "experts": 3, "expert_layers": [12, 8], "tower_layers": [6]},
    "train": {"batch_size": 64, "lr": 0.005, "device": "cpu", "reestimate_rows": 256},
    "federation": {"rounds": 3, "patience": 0, "evaluate_consensus": True},
}
TURNED = {
    "hadamard": ["pf-msmtrec.template=hadamard", "pf-msmtrec.task_layers=all"],
    "plain-bottom-up": ["pf-msmtrec.template=none", "pf-msmtrec.schedule=bottom-up"],
    "one-table": ["pf-msmtrec.personalized_tables=false", "pf-msmtrec.row_balance=0.5"],
    "plain-tables": ["federation.tables=plain", "pf-msmtrec.consensus=examples"],
    "all-federated": [
        "pf-msmtrec.gates=federated",
        "pf-msmtrec.normalization=federated",
        "pf-msmtrec.output_bias=federated",
        "train.ema_decay=0.7",
    ],
    "all-local": ["pf-msmtrec.template=none", "pf-msmtrec.towers=local", "federation.tables=local"],
    "kept-moments": ["train.optimizer_state=keep", "train.embedding_optimizer=adagrad", "train.min_steps=8"],
    "macro": ["federation.selection=macro", "federation.patience=1", "pf-msmtrec.hyper_lr=0.5"],
}
"""Settings of PF-MSMTrec by the name of the pin."""
REFUSED = "method:pooled-mmoe-shared-ids"
"""Made-up rows have no field that stands for a user, which this method needs: its message is recorded."""
COMPARED = "alone,fedavg,pf-msmtrec,pooled-mmoe"
DROPPED = frozenset({"seconds", "versions", "folder", "time"})
"""Keys with values that differ from run to run, or with the names of settings."""


@dataclass(frozen=True)
class Pin:
    """A run to record: its name, and the options of `pfmsmtrec run`."""

    name: str
    options: Sequence[str]


def main() -> int:
    """Record or check, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "check"])
    parser.add_argument("file", type=Path, help="JSON file of the recorded values")
    parser.add_argument("--only", default="", help="parts of the names of the pins, with commas between")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once")
    given = parser.parse_args()
    found = measure([part for part in given.only.split(",") if part], given.jobs)
    if given.action == "record":
        given.file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{len(found)} pins recorded in {given.file}")
        return 0
    known = json.loads(given.file.read_text(encoding="utf-8"))
    return report({name: known.get(name) for name in found}, found)


def measure(only: Sequence[str], jobs: int) -> dict[str, Any]:
    """Run all pins whose names hold one of the given parts, and return what they computed, by name."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "tiny.yaml").write_text(yaml.safe_dump(CONF), encoding="utf-8")
        command("run", "--conf", "tiny.yaml", "--method", "base-rate", *shared(root), "--output", "first", cwd=root)
        chosen = [pin for pin in pins() if not only or any(part in pin.name for part in only)]
        with ThreadPoolExecutor(jobs) as pool:
            measured = pool.map(lambda pin: run_pin(pin, root), chosen)
            found = {pin.name: values for pin, values in zip(chosen, measured, strict=True)}
        if not only or any(part in "comparison" for part in only):
            found["comparison"] = compare(root)
        return found


def pins() -> list[Pin]:
    """Return a pin for each method, and for each part of PF-MSMTrec that is turned."""
    from pfmsmtrec_flwr.methods import METHODS

    turned = [
        Pin(f"turned:{name}", ["--method", "pf-msmtrec", *(word for key in keys for word in ("--set", key))])
        for name, keys in TURNED.items()
    ]
    return [*(Pin(f"method:{name}", ["--method", name]) for name in METHODS), *turned]


def run_pin(pin: Pin, root: Path) -> dict[str, Any]:
    """Run one pin, and return what it computed."""
    output = root / pin.name.replace(":", "-")
    if pin.name == REFUSED:
        return {"refused": call("run", "--conf", "tiny.yaml", *pin.options, *shared(root), cwd=root).stderr}
    command("run", "--conf", "tiny.yaml", *pin.options, *shared(root), "--output", str(output), cwd=root)
    rounds = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "parameters": {file.parent.name: digest(file) for file in sorted(output.glob("clients/*/*/model.safetensors"))},
        "results": plain(json.loads((output / "results.json").read_text(encoding="utf-8"))),
        "rounds": [plain(json.loads(line)) for line in rounds],
    }


def compare(root: Path) -> Any:
    """Run a small comparison, and return what its summary says."""
    folder = root / "comparison"
    command(
        *("compare", "tiny.yaml", "--methods", COMPARED, "--seeds", "2", "--tune", "2", "--join"),
        *("--data", str(root / "data"), "--output", str(folder)),
        cwd=root,
    )
    return plain(json.loads((folder / "summary.json").read_text(encoding="utf-8")))


def shared(root: Path) -> list[str]:
    """Return the options that all runs have."""
    return ["--seed", "1", "--engine", "inline", "--data", str(root / "data")]


def command(*words: str, cwd: Path) -> None:
    """Run a command of `pfmsmtrec`; a failure ends the program."""
    done = call(*words, cwd=cwd)
    if done.returncode:
        sys.exit(f"pfmsmtrec {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")


def call(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of `pfmsmtrec` with the interpreter that runs this program."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    code = "import sys; from pfmsmtrec_flwr.cli import main; sys.argv[0] = 'pfmsmtrec'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def digest(file: Path) -> str:
    """Return the SHA-256 of the tensors in a file, by the order of their names."""
    sums = hashlib.sha256()
    for name, values in sorted(load_file(file).items()):
        sums.update(f"{name} {values.dtype} {values.shape}".encode() + values.tobytes())
    return sums.hexdigest()


def plain(document: Any) -> Any:
    """Return a document without times, versions and folders, and without the names of settings."""
    if isinstance(document, Mapping):
        kept = {key: plain(value) for key, value in document.items() if key not in DROPPED}
        if isinstance(kept.get("settings"), Mapping):
            kept["settings"] = list(kept["settings"].values())
        return kept
    return [plain(value) for value in document] if isinstance(document, list) else document


def report(known: Mapping[str, Any], found: Mapping[str, Any]) -> int:
    """Print the values that differ, and return the exit status."""
    failed = 0
    for name in found:
        differences = list(differing(known[name], found[name]))
        failed += bool(differences)
        print(f"{'differs' if differences else 'holds':8}{name}")
        for line in differences[:12]:
            print(f"        {line}")
        if len(differences) > 12:
            print(f"        and {len(differences) - 12} more")
    print(f"{len(found) - failed} of {len(found)} pins hold")
    return 1 if failed else 0


def differing(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Yield a line for each value that differs between two documents."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differing(old.get(key, "nothing"), new.get(key, "nothing"), f"{where}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differing(one, other, f"{where}[{place}]")
    elif old != new:
        yield f"{where}: {json.dumps(old)[:80]} -> {json.dumps(new)[:80]}"


if __name__ == "__main__":
    sys.exit(main())
