"""Bytes that a federation sends, in each precision, against those of FedPer; the test AUC beside.

    python benchmarks/traffic.py                                          # made-up data
    python benchmarks/traffic.py --conf kuairand --data /path/to/data     # prepared data

Every scenario has a node of its own, and all runs have the same number of rounds. Bytes are those of all arrays, both
ways, from the first exchange to the test, as `results.json` counts them.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import get_args

from figures import Figure, show

from pfmsmtrec_flwr.config import Precision, RunConfig
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods.configuration import load_config

MADE_UP = (
    "data.synthetic={train_rows: {NL: 6000, ES: 4000, FR: 3000, US: 2000}, validation_rows: 1000, test_rows: 5000}",
    "train.batch_size=128",
)
COMMON = ("federation.patience=0", "federation.reference=[]", "federation.draws=0", "evaluation.calibration=none")
GOALS = {"full": 1.3, "half": 0.5, "int8": 0.5}
"""Largest share of FedPer's bytes."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Bytes up and down, and the mean test AUC over scenarios and tasks."""

    up: float
    down: float
    auc: float

    @property
    def both(self) -> float:
        """Bytes in both directions."""
        return self.up + self.down


def spent(config: RunConfig, data: Path | None) -> Spent:
    """Run a configuration, and return what it sent."""
    with TemporaryDirectory() as folder:
        (results,) = run_inline(config, data=data or Path(folder), output=Path(folder) / "run", num_supernodes=64)
    auc = fmean(task.auc for scenario in results.scenarios.values() for task in scenario.tasks.values() if task.auc)
    return Spent(results.traffic.up_bytes, results.traffic.down_bytes, auc)


def mean_spent(options: argparse.Namespace, method: str, precision: Precision) -> Spent:
    """Return the mean over the seeds of what a method sent."""
    made_up = MADE_UP if options.data is None else ()
    overrides = [*made_up, *COMMON, f"federation.rounds={options.rounds}", f"federation.precision={precision}"]
    runs = [
        spent(load_config(options.conf, method=method, seed=seed, overrides=[*overrides, *options.set]), options.data)
        for seed in range(options.seeds)
    ]
    return Spent(*(fmean(values) for values in zip(*((run.up, run.down, run.auc) for run in runs), strict=True)))


def measure(options: argparse.Namespace) -> Sequence[Figure]:
    """Return the figures of FedPer in full precision, and of PF-MSMTrec in each."""
    logger.setLevel(logging.ERROR)
    fedper = mean_spent(options, "fedper", "full")
    figures = _of("fedper", fedper)
    full: Spent | None = None
    for precision in get_args(Precision):
        own = mean_spent(options, "pf-msmtrec", precision)
        full = full or own
        name = f"pf-msmtrec, {precision}"
        figures.append(Figure(f"{name}: bytes against fedper", own.both / fedper.both, "x", "less", GOALS[precision]))
        figures += _of(name, own)
        if precision != "full":
            figures.append(Figure(f"{name}: AUC less that in full precision", own.auc - full.auc, "", "more", -0.001))
    return figures


def _of(name: str, own: Spent) -> list[Figure]:
    return [
        Figure(f"{name}: up", own.up / 1e6, "MB"),
        Figure(f"{name}: down", own.down / 1e6, "MB"),
        Figure(f"{name}: mean test AUC", own.auc, ""),
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--conf", default=str(Path(__file__).with_name("made_up.yaml")), help="configuration")
    parser.add_argument("--data", type=Path, help="absolute folder of prepared data; without it, data are made up")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


if __name__ == "__main__":
    show("traffic", measure, __doc__, arguments)
