"""Measure what coarse row counts and noise on updates cost in test AUC, on the made-up default world.

    python benchmarks/privacy.py --output runs/privacy

Each run has a folder below the output; those that have finished are not run again. AUC is the mean over the four
scenarios, with the mean over seeds and their standard deviation. ε is that of the run with most updates.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from pfmsmtrec_flwr.config import Value
from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.results.schema import RESULTS_NAME, RunResults
from pfmsmtrec_flwr.results.writer import read_results

MADE_UP = str(Path(__file__).with_name("made_up.yaml"))

COUNT_SEEDS = (0, 1, 2)
NOISE_SEEDS = (0, 1)


@dataclass(frozen=True)
class Case:
    """A method under settings of its updates, run with several seeds."""

    name: str
    method: str
    settings: dict[str, Value]
    seeds: Sequence[int]


def noisy(method: str, noise: float, clip_norm: float) -> Case:
    """Return a method with noise on its updates."""
    settings: dict[str, Value] = {"privacy.noise": noise, "privacy.clip_norm": clip_norm}
    return Case(f"{method}-noise-{noise:g}-norm-{clip_norm:g}", method, settings, NOISE_SEEDS)


CASES = (
    Case("pf-msmtrec-exact", "pf-msmtrec", {}, COUNT_SEEDS),
    Case("pf-msmtrec-powers", "pf-msmtrec", {"privacy.row_counts": "powers"}, COUNT_SEEDS),
    noisy("pf-msmtrec", 3.0, 1.0),
    noisy("pf-msmtrec", 3.0, 0.01),
    noisy("pf-msmtrec", 0.1, 1.0),
    noisy("pf-msmtrec", 0.1, 0.1),
    noisy("pf-msmtrec", 0.01, 1.0),
    noisy("pf-msmtrec", 0.001, 1.0),
    Case("ditto-exact", "ditto", {}, NOISE_SEEDS),
    noisy("ditto", 3.0, 0.01),
    Case("alone", "alone", {}, NOISE_SEEDS),
)


def results_of_case(case: Case, seed: int, output: Path) -> RunResults:
    """Run a case with a seed, unless its results are there."""
    folder = output / f"{case.name}-seed{seed}"
    if not (folder / RESULTS_NAME).exists():
        config = load_config(MADE_UP, method=case.method, seed=seed, overrides=["federation.reference=[]"])
        config = config.with_settings({"federation.draws": 0, **case.settings}, "benchmark")
        run_method(config, data=output / "data", output=folder)
    return read_results(folder)


def line_of(case: Case, runs: Sequence[RunResults]) -> str:
    """Return a row of the table."""
    privacy = [run.privacy for run in runs if run.privacy is not None]
    epsilon = max((spent.epsilon for spent in privacy if spent.epsilon is not None), default=None)
    cells = [
        case.method,
        str(case.settings.get("privacy.row_counts", "exact")) if not privacy else "all rows, 1 each",
        f"{privacy[0].noise:g}" if privacy else "0",
        f"{privacy[0].clip_norm:g}" if privacy else "",
        "" if epsilon is None else f"{epsilon:.3g}",
        ", ".join(str(run.rounds) for run in runs),
    ]
    for task in runs[0].macro:
        found = [auc for run in runs if (auc := run.macro[task].auc) is not None]
        cells.append(f"{mean(found):.4f} ± {stdev(found):.4f}" if len(found) > 1 else f"{found[0]:.4f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run all cases and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/privacy"), help="folder of the runs")
    parser.add_argument("--only", default="", help="text that the names of the cases to run contain")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    print("| method | row counts | noise | norm | ε | rounds | AUC ctr | AUC ctcvr |", flush=True)
    print("|---|---|---:|---:|---:|---|---:|---:|", flush=True)
    for case in (case for case in CASES if arguments.only in case.name):
        print(line_of(case, [results_of_case(case, seed, output) for seed in case.seeds]), flush=True)


if __name__ == "__main__":
    main()
