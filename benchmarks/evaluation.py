"""Time and memory of the exact AUC, and of the AUC within users, against scikit-learn's AUC alone.

    python benchmarks/evaluation.py                     # 2 million predictions
    python benchmarks/evaluation.py --rows 10000000

Times are CPU times, the least of several turns in which the measured functions alternate. Memory is the largest that
the arrays of one call take beside its arguments.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from figures import Figure, show
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.training.metrics import grouped_auc
from pfmsmtrec_flwr.training.ranking import area_under_curve

ROWS_OF_A_USER = 20
"""Mean number of rows of a user."""


def measure(options: argparse.Namespace) -> list[Figure]:
    """Return the figures of one number of predictions."""
    rows = options.rows
    generator = np.random.default_rng(0)
    scores = generator.random(rows, dtype=np.float32) ** 4  # a fifth of the labels is positive
    labels = (generator.random(rows, dtype=np.float32) < scores).astype(np.uint8)
    users = generator.integers(0, rows // ROWS_OF_A_USER, rows)
    measured: dict[str, Callable[[], object]] = {
        "scikit-learn's AUC": lambda: roc_auc_score(labels, scores),
        "AUC": lambda: area_under_curve(labels, scores),
        "AUC within users": lambda: grouped_auc(labels, scores, users),
    }
    seconds = dict.fromkeys(measured, float("inf"))
    for _ in range(options.turns):
        for name, call in measured.items():
            started = time.process_time()
            call()
            seconds[name] = min(seconds[name], time.process_time() - started)
    memory = {name: peak(call) for name, call in measured.items()}
    both, alone = seconds["AUC"] + seconds["AUC within users"], seconds["scikit-learn's AUC"]
    most = max(memory["AUC"], memory["AUC within users"])
    off = abs(area_under_curve(labels, scores) - roc_auc_score(labels, scores))
    return [
        Figure("predictions", rows, ""),
        *(Figure(f"{name}, CPU time", own, "s") for name, own in seconds.items()),
        Figure("AUC and AUC within users, of scikit-learn's AUC alone", both / alone, better="less", goal=1.5),
        *(Figure(f"{name}, memory", own / 1e6, "MB") for name, own in memory.items()),
        Figure("memory of both, of scikit-learn's AUC alone", most / memory["scikit-learn's AUC"], better="less"),
        Figure("AUC equals scikit-learn's to 1e-12", off < 1e-12, "", better="more", goal=1),
    ]


def peak(call: Callable[[], object]) -> int:
    """Return the largest number of bytes that a call takes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--rows", type=int, default=2_000_000, help="number of predictions")
    parser.add_argument("--turns", type=int, default=3, help="turns of which the least time counts")


if __name__ == "__main__":
    show("evaluation", measure, __doc__, arguments)
