"""Tune every method with the same number of trials on validation data, then run the tuned methods on several seeds.

    python benchmarks/evidence.py tune  kuairand --trials 12 --jobs 2 --data DIR --output DIR
    python benchmarks/evidence.py seeds kuairand --seeds 5 --jobs 2 --data DIR --output DIR

Trials are drawn at random, with a fixed seed, from the spaces declared below, alike for all methods where they share
a setting; a trial's score is the mean validation AUC over scenarios and tasks at its best round. No test figure is read
while tuning. What is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

METHODS = ("alone", "fedavg", "fedbn", "pf-msmtrec")

COMMON: dict[str, list[Any]] = {
    "train.lr": [0.001, 0.002, 0.004],
    "train.batch_size": [512, 1024],
    "train.weight_decay": [1e-6, 1e-5, 1e-4],
    "model.dropout": [0.1, 0.3],
    "model.embedding_dropout": [0.1, 0.3, 0.5],
    "model.template": ["hadamard", "none"],
}
OWN: dict[str, dict[str, list[Any]]] = {
    "alone": {},
    "fedavg": {"train.reestimate_batch_norm": [True, False]},
    "fedbn": {},
    "pf-msmtrec": {
        "aggregation.pull": [0.3, 0.5, 0.7],
        "aggregation.alpha": [0.2, 0.5],
        "aggregation.beta": [0.2, 0.5],
        "aggregation.gates": ["local", "federated"],
    },
}


@dataclass(frozen=True)
class Job:
    """One training: a method with settings and a seed, and the folder of its results."""

    conf: str
    method: str
    seed: int
    settings: tuple[tuple[str, Any], ...]
    data: Path
    folder: Path


def run(job: Job) -> Job:
    """Train in this process, unless the results are there; only figures are kept."""
    from pfmsmtrec_flwr.config import load_config
    from pfmsmtrec_flwr.experiment import run_inline
    from pfmsmtrec_flwr.results.schema import RESULTS_NAME

    if not (job.folder / RESULTS_NAME).exists():
        overrides = ["federation.reference=[]", *(f"{key}={json.dumps(value)}" for key, value in job.settings)]
        config = load_config(job.conf, method=job.method, seed=job.seed, overrides=overrides)
        run_inline(config, data=job.data, output=job.folder, num_supernodes=1)
        shutil.rmtree(job.folder / "clients", ignore_errors=True)
    return job


def run_all(jobs: list[Job], workers: int) -> None:
    """Run the jobs in so many processes of one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run, job) for job in jobs]
        for done, future in enumerate(as_completed(futures), 1):
            job = future.result()
            print(f"{done}/{len(jobs)} {job.method} {job.folder.name} {validation(job.folder):.4f}", flush=True)


def validation(folder: Path) -> float:
    """Mean validation AUC over scenarios and tasks at the best round."""
    rounds = [json.loads(line)["macro"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return max(statistics.fmean(macro.values()) for macro in rounds)


def draw(method: str, trials: int) -> list[tuple[tuple[str, Any], ...]]:
    """Return the settings of a method's trials; what all methods have in common is drawn alike for all of them."""
    common, own = random.Random("common"), random.Random(method)
    combinations = list(product(*COMMON.values()))
    drawn = [dict(zip(COMMON, values, strict=True)) for values in common.sample(combinations, trials)]
    return [
        tuple((settings | {key: own.choice(values) for key, values in OWN[method].items()}).items())
        for settings in drawn
    ]


def tune(arguments: argparse.Namespace) -> None:
    """Run all trials, and print each method's best settings as they go into the conf file."""
    jobs = [
        Job(
            arguments.conf,
            method,
            0,
            settings,
            arguments.data,
            arguments.output / "tune" / method / f"trial{number:02d}",
        )
        for number in range(arguments.trials)
        for method in arguments.methods
        for settings in [draw(method, arguments.trials)[number]]
    ]
    run_all(jobs, arguments.jobs)
    print("methods:")
    for method in arguments.methods:
        best = max((job for job in jobs if job.method == method), key=lambda job: validation(job.folder))
        print(f"  {method}:  # validation {validation(best.folder):.4f}, {best.folder.name}")
        for key, value in best.settings:
            print(f"    {key}: {json.dumps(value)}")


def seeds(arguments: argparse.Namespace) -> None:
    """Run the configured methods on several seeds, and print mean and deviation of the test AUC as Markdown."""
    jobs = [
        Job(arguments.conf, method, seed, (), arguments.data, arguments.output / "seeds" / method / f"seed{seed}")
        for seed in range(arguments.seeds)
        for method in arguments.methods
    ]
    run_all(jobs, arguments.jobs)
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in arguments.methods}
    for job in jobs:
        found[job.method].append(json.loads((job.folder / "results.json").read_text()))
    first = found[arguments.methods[0]][0]
    best = first["best_attainable"]
    print(f"| scenario | task | {' | '.join(arguments.methods)} |{' best attainable |' if best else ''}")
    print("|---" * (2 + len(arguments.methods) + bool(best)) + "|")
    for scenario, described in first["scenarios"].items():
        for task in described["tasks"]:
            cells = [
                spread([one["scenarios"][scenario]["tasks"][task]["auc"] for one in found[method]])
                for method in arguments.methods
            ]
            extra = f" {best[scenario][task]['auc']:.4f} |" if best else ""
            print(f"| {scenario} | {task} | {' | '.join(cells)} |{extra}")
    for task in first["macro"]:
        cells = [spread([one["macro"][task]["auc"] for one in found[method]]) for method in arguments.methods]
        means = f" {statistics.fmean(best[name][task]['auc'] for name in best):.4f} |" if best else ""
        print(f"| **mean** | {task} | {' | '.join(cells)} |{means}")


def spread(values: list[float]) -> str:
    """Mean ± standard deviation between seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.4f} ± {deviation:.4f}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tune", "seeds"])
    parser.add_argument("conf")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--data", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--output", type=lambda text: Path(text).resolve(), required=True)
    arguments = parser.parse_args()
    {"tune": tune, "seeds": seeds}[arguments.what](arguments)


if __name__ == "__main__":
    main()
