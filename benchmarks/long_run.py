"""Memory and disk of a long run over the in-process grid, on small made-up data.

    python benchmarks/long_run.py --rounds 200

Server and scenarios are in one process, so its memory is that of all of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.results.rounds import METRICS_NAME
from pfmsmtrec_flwr.training.records import RoundRecord

MADE_UP = str(Path(__file__).with_name("made_up.yaml"))

WORLD = "{train_rows: {NL: 600, ES: 400, FR: 300, US: 200}, validation_rows: 100, test_rows: 200, ctr: 0.3}"
SETTINGS = (
    f"data.synthetic={WORLD}",
    *("train.batch_size=64", "train.device=cpu", "federation.patience=0", "federation.reference=[]"),
)


def resident_megabytes() -> float:
    """Return the resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS in /proc/self/status")


def main() -> None:
    """Run, and print memory and disk at some rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="pf-msmtrec")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    overrides = [*SETTINGS, f"federation.rounds={arguments.rounds}"]
    config = load_config(MADE_UP, method=arguments.method, overrides=overrides)
    print("| round | memory, MB | files, MB | number of files | metrics.jsonl, MB |\n|---:|---:|---:|---:|---:|")
    with TemporaryDirectory() as folder:
        output = Path(folder) / "out"

        def on_round(record: RoundRecord) -> None:
            if record.round in (1, 2, 5, 10) or record.round % 25 == 0:
                files = [file for file in output.rglob("*") if file.is_file()]
                sizes = {file.name: 0.0 for file in files}
                for file in files:
                    sizes[file.name] += file.stat().st_size / 1e6
                log = sizes.pop(METRICS_NAME)
                cells = (f"{resident_megabytes():.0f}", f"{sum(sizes.values()):.2f}", str(len(files)), f"{log:.2f}")
                print(f"| {record.round} | {' | '.join(cells)} |", flush=True)

        run_method(config, data=Path(folder) / "data", output=output, on_round=on_round)


if __name__ == "__main__":
    main()
