"""Speed of preparing rows and of scoring raw ones, beside pandas' reading of the same file.

    python benchmarks/preparing.py --rows 200000

The table has the layout of AliExpress (82 columns). Each measurement is a process of its own, and the ways take turns.
A figure is a ratio of medians of CPU time, that of all threads. Scoring includes reading, encoding
and a model of 8 experts (64, 32) with templates.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from data_path import prepare_store, read_with_pandas, write_preprocessed
from figures import Figure, show

REPEATS = 5
TRAIN = "AliExpress_NL/train.csv"


def score_rows(source: Path) -> int:
    """Score the training file with the saved model, into a file."""
    from pfmsmtrec_flwr.scoring.score_files import score_file
    from pfmsmtrec_flwr.scoring.scorer import Scorer

    return score_file(Scorer.load(source / "run"), source / TRAIN, source / "scores.csv", scenario="NL")


WAYS: dict[str, Callable[[Path], int]] = {
    function.__name__: function for function in (read_with_pandas, prepare_store, score_rows)
}


def train_model(source: Path) -> None:
    """Leave a model of a short training in the folder of the table."""
    from pfmsmtrec_flwr.experiment import run_inline
    from pfmsmtrec_flwr.methods.configuration import load_config

    small = ["model.embedding_dim=8", "model.experts=8", "model.expert_layers=[64, 32]", "model.tower_layers=[32]"]
    short = ["federation.rounds=1", "train.max_local_steps=2", "federation.reference=[]"]
    config = load_config("aliexpress", overrides=[*small, *short])
    run_inline(config, data=source / "data", output=source / "run")


def spend(way: str, source: Path) -> None:
    """Print the CPU time of one way, without imports."""
    import pandas  # noqa: F401 - its import is no part of what is measured

    import pfmsmtrec_flwr.data.prepare.pipeline
    import pfmsmtrec_flwr.scoring.scorer  # noqa: F401

    started = time.process_time()
    WAYS[way](source)
    print(time.process_time() - started)


def seconds_of(way: str, source: Path) -> float:
    """Return the CPU time of one way in a new process."""
    if way == prepare_store.__name__:
        shutil.rmtree(source / "data", ignore_errors=True)
    command = [sys.executable, __file__, "--way", way, "--source", str(source)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> list[Figure]:
    """Measure all ways in turns."""
    with TemporaryDirectory() as folder:
        source = write_preprocessed(Path(folder), options.rows)
        seconds_of(prepare_store.__name__, source)
        train_model(source)
        turns = [{way: seconds_of(way, source) for way in WAYS} for _ in range(REPEATS)]
    spent = {way: median(turn[way] for turn in turns) for way in WAYS}
    read, prepared, scored = (options.rows / spent[way] for way in WAYS)
    return [
        Figure("preparing", prepared, "rows per second of CPU time"),
        Figure("preparing, rows per second over those of pandas' reading", prepared / read, better="more"),
        Figure("scoring raw rows", scored, "rows per second of CPU time"),
        Figure("scoring raw rows, rows per second over those of preparing", scored / prepared, better="more", goal=0.5),
    ]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)


if __name__ == "__main__":
    if "--way" in sys.argv:
        own = argparse.ArgumentParser()
        _options(own)
        asked = own.parse_args()
        spend(asked.way, asked.source)
    else:
        show("preparing", measure, __doc__, _options)
