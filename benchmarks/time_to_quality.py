"""Rounds, seconds and bytes until a validation AUC: PF-MSMTrec against FedAvg, FedPer and pooled training.

    python benchmarks/time_to_quality.py                          # one seed on the made-up scenarios
    python benchmarks/time_to_quality.py --comparison FOLDER      # the runs of a `pfmsmtrec compare`

The AUC to reach is the lowest of the methods' best ones, so that all reach it; `--auc` names another. An AUC is the
mean of all tasks and scenarios on validation rows. Seconds are those until it was measured, on one core; bytes are
those of the arrays in the messages until then, all scenarios together.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

from figures import Figure, show

from pfmsmtrec_flwr.cli.entry import app

METHODS = ("pf-msmtrec", "fedavg", "fedper", "pooled-mmoe")


@dataclass(frozen=True, slots=True)
class Reached:
    """State of a run after a round.

    Attributes
    ----------
    auc
        Mean validation AUC of tasks and scenarios of the models that the round began with.
    rounds, seconds, megabytes
        Number of rounds, seconds and MB until then.
    """

    auc: float
    rounds: int
    seconds: float
    megabytes: float


def course(metrics: Path) -> list[Reached]:
    """Return the states of a run after each of its rounds."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return list(_states(lines))


def _states(lines: Sequence[Mapping[str, Any]]) -> Iterator[Reached]:
    sent = 0
    for line in lines:
        sent += line["up_bytes"] + line["down_bytes"]
        yield Reached(fmean(line["macro"].values()), line["round"], line["seconds"], sent / 1e6)


def first_at(states: Sequence[Reached], auc: float) -> Reached:
    """Return the first state with an AUC; infinitely late if there is none."""
    never = Reached(math.nan, 0, math.inf, math.inf)
    return next((state for state in states if state.auc >= auc), never)


def figures_of(courses: Mapping[str, Sequence[Sequence[Reached]]], auc: float | None) -> list[Figure]:
    """Return the figures of all methods, the medians over their runs."""
    target = (
        auc if auc is not None else min(max(state.auc for state in run) for runs in courses.values() for run in runs)
    )
    figures = [Figure("validation AUC to reach", target, "AUC")]
    seconds: dict[str, float] = {}
    for method, runs in courses.items():
        reached = [first_at(run, target) for run in runs]
        seconds[method] = median(state.seconds for state in reached)
        figures += [
            Figure(f"{method}: rounds", median(state.rounds for state in reached), "rounds"),
            Figure(f"{method}: time", seconds[method], "s"),
            Figure(f"{method}: traffic", median(state.megabytes for state in reached), "MB"),
        ]
    if own := seconds.get("pf-msmtrec"):
        others = {method: spent for method, spent in seconds.items() if method != "pf-msmtrec"}
        figures += [Figure(f"time of pf-msmtrec over {name}'s", own / spent) for name, spent in others.items()]
    return figures


def courses_of(folder: Path, methods: Sequence[str]) -> dict[str, list[list[Reached]]]:
    """Return the courses of a comparison's runs by method."""
    found = {name: sorted((folder / "runs" / name).glob("*/metrics.jsonl")) for name in methods}
    return {name: [course(path) for path in paths] for name, paths in found.items() if paths}


def measure(options: argparse.Namespace) -> list[Figure]:
    """Measure a comparison that is there, or one seed on the made-up scenarios."""
    if options.comparison is not None:
        return figures_of(courses_of(options.comparison, METHODS), options.auc)
    with TemporaryDirectory() as folder:
        arguments = ["compare", "synthetic", "--methods", ",".join(METHODS), "--seeds", "1", "--jobs", "1"]
        app([*arguments, "--data", folder, "--output", f"{folder}/compared"], standalone_mode=False)
        return figures_of(courses_of(Path(folder) / "compared", METHODS), options.auc)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--comparison", type=Path, help="folder of a `pfmsmtrec compare`")
    parser.add_argument("--auc", type=float, help="validation AUC to reach")


if __name__ == "__main__":
    show("time_to_quality", measure, __doc__, _options)
