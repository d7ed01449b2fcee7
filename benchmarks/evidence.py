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

PUBLISHED = {"aggregation.embeddings": "plain", "train.reestimate_batch_norm": False}
OURS = {"aggregation.embeddings": "rows", "train.reestimate_batch_norm": True}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "alone": ("alone", OURS),
    "fedavg": ("fedavg", PUBLISHED),
    "fedbn": ("fedbn", PUBLISHED),
    "fedavg+": ("fedavg", OURS),
    "fedbn+": ("fedbn", OURS),
    "pf-msmtrec": ("pf-msmtrec", OURS),
}
"""What is compared: a method and what is fixed for it. With ``+`` a baseline has this project's row-wise averages of
embedding tables and its re-estimated normalization statistics; without, it is as published."""

Settings = tuple[tuple[str, Any], ...]

COMMON: dict[str, list[Any]] = {
    "train.lr": [0.001, 0.002, 0.004],
    "train.batch_size": [512, 1024],
    "train.weight_decay": [1e-6, 1e-5, 1e-4],
    "model.dropout": [0.1, 0.3],
    "model.embedding_dropout": [0.1, 0.3, 0.5],
    "model.template": ["hadamard", "none"],
}
OWN: dict[str, dict[str, list[Any]]] = {
    "pf-msmtrec": {
        "aggregation.pull": [0.3, 0.5, 0.7],
        "aggregation.alpha": [0.2, 0.5],
        "aggregation.beta": [0.2, 0.5],
        "aggregation.gates": ["local", "federated"],
    },
}


@dataclass(frozen=True)
class Job:
    """One training: a variant with settings and a seed, and the folder of its results."""

    conf: str
    variant: str
    seed: int
    settings: Settings
    overrides: tuple[str, ...]
    data: Path
    folder: Path


def run(job: Job) -> Job:
    """Train in this process, unless the results are there; only figures are kept."""
    from pfmsmtrec_flwr.config import load_config
    from pfmsmtrec_flwr.experiment import run_inline
    from pfmsmtrec_flwr.results.schema import RESULTS_NAME

    if not (job.folder / RESULTS_NAME).exists():
        given = [f"{key}={json.dumps(value)}" for key, value in job.settings]
        overrides = ["federation.reference=[]", *given, *job.overrides]
        config = load_config(job.conf, method=VARIANTS[job.variant][0], seed=job.seed, overrides=overrides)
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
            print(f"{done}/{len(jobs)} {job.variant} {job.folder.name} {validation(job.folder):.4f}", flush=True)


def validation(folder: Path) -> float:
    """Mean validation AUC over scenarios and tasks at the best round."""
    rounds = [json.loads(line)["macro"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return max(statistics.fmean(macro.values()) for macro in rounds)


def draw(variant: str, trials: int) -> list[Settings]:
    """Return the settings of a variant's trials; what all have in common is drawn alike for all of them."""
    common, own = random.Random("common"), random.Random(variant)
    combinations = list(product(*COMMON.values()))
    drawn = [dict(zip(COMMON, values, strict=True)) for values in common.sample(combinations, trials)]
    space = OWN.get(variant, {})
    chosen = [settings | {key: own.choice(values) for key, values in space.items()} for settings in drawn]
    return [tuple((VARIANTS[variant][1] | settings).items()) for settings in chosen]


def trials_of(variant: str, arguments: argparse.Namespace) -> list[Job]:
    """Return a variant's trials."""
    folder = arguments.output / "tune" / variant
    return [
        Job(arguments.conf, variant, 0, settings, tuple(arguments.set), arguments.data, folder / f"trial{number:02d}")
        for number, settings in enumerate(draw(variant, arguments.trials))
    ]


def best_trial(variant: str, arguments: argparse.Namespace) -> Job | None:
    """Return a variant's trial with the best validation score; None if it was not tuned."""
    done = [job for job in trials_of(variant, arguments) if (job.folder / "results.json").exists()]
    return max(done, key=lambda job: validation(job.folder), default=None)


def tune(arguments: argparse.Namespace) -> None:
    """Run all trials, and print each variant's best settings."""
    run_all([job for variant in arguments.variants for job in trials_of(variant, arguments)], arguments.jobs)
    for variant in arguments.variants:
        best = best_trial(variant, arguments)
        if best is not None:
            print(f"{variant}:  # validation {validation(best.folder):.4f}, {best.folder.name}")
            print("".join(f"  {key}: {json.dumps(value)}\n" for key, value in best.settings), end="")


def seeds(arguments: argparse.Namespace) -> None:
    """Run the variants, as tuned if they were, on several seeds, and print the test AUC as Markdown."""
    jobs = []
    for variant in arguments.variants:
        best = best_trial(variant, arguments)
        settings = best.settings if best is not None else tuple(VARIANTS[variant][1].items())
        folder = arguments.output / "seeds" / variant
        jobs += [
            Job(arguments.conf, variant, seed, settings, tuple(arguments.set), arguments.data, folder / f"seed{seed}")
            for seed in range(arguments.seeds)
        ]
    run_all(jobs, arguments.jobs)
    report(jobs, arguments.variants)


def report(jobs: list[Job], variants: list[str]) -> None:
    """Print mean and standard deviation between seeds, per scenario and task and over scenarios."""
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for job in jobs:
        found[job.variant].append(json.loads((job.folder / "results.json").read_text()))
    first = found[variants[0]][0]
    best = first["best_attainable"]
    print(f"| scenario | task | {' | '.join(variants)} |{' best attainable |' if best else ''}")
    print("|---" * (2 + len(variants) + bool(best)) + "|")
    for scenario, described in first["scenarios"].items():
        for task in described["tasks"]:
            cells = [
                spread([one["scenarios"][scenario]["tasks"][task]["auc"] for one in found[variant]])
                for variant in variants
            ]
            extra = f" {best[scenario][task]['auc']:.4f} |" if best else ""
            print(f"| {scenario} | {task} | {' | '.join(cells)} |{extra}")
    for task in first["macro"]:
        cells = [spread([one["macro"][task]["auc"] for one in found[variant]]) for variant in variants]
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
    parser.add_argument("--variants", type=lambda text: text.split(","), default=list(VARIANTS))
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="a setting for all variants, KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--data", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--output", type=lambda text: Path(text).resolve(), required=True)
    arguments = parser.parse_args()
    {"tune": tune, "seeds": seeds}[arguments.what](arguments)


if __name__ == "__main__":
    main()
