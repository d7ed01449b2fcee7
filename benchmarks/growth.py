"""How time grows: rows, scenarios, experts, tasks and rows of tables are doubled, one after the other.

    python benchmarks/growth.py

An exponent of 1 means that twice as much takes twice as long, one of 0 that it takes no longer. It is fitted through
four sizes, each twice the one before, by CPU time, the least of a few turns. Rows, experts, tasks and rows of tables
are those of a local training; scenarios are those of whole rounds of `pf-msmtrec` in process, with few rows each.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from figures import Figure, show

from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
from pfmsmtrec_flwr.training.local import GradientStep, train_locally
from pfmsmtrec_flwr.training.optimizers import make_optimizer
from pfmsmtrec_flwr.training.process import prepare_process

MADE_UP = str(Path(__file__).with_name("made_up.yaml"))

TURNS = 3
DOUBLINGS = (1, 2, 4, 8)
FIELDS, NUMERIC = 16, 63


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a local training."""

    rows: int = 8192
    experts: int = 4
    tasks: int = 2
    table_rows: int = 20_000  # of all fields together


def made_up_split(size: Size) -> Split:
    """Return rows of random values."""
    draws = np.random.default_rng(0)
    each = size.table_rows // FIELDS
    return Split(
        draws.integers(0, each, (size.rows, FIELDS), dtype=np.int32),
        draws.standard_normal((size.rows, NUMERIC), dtype=np.float32),
        draws.integers(0, 2, (size.rows, size.tasks), dtype=np.uint8),
        users=None,
        probabilities=None,
    )


def training_turn(size: Size) -> Callable[[], object]:
    """Return a local training of one pass over the rows, in batches of 1,024."""
    fields = tuple(FieldSpec(f"field{n}", rows=size.table_rows // FIELDS, federated=True) for n in range(FIELDS))
    spec = ModelSpec(fields, numeric=NUMERIC, tasks=tuple(f"task{n}" for n in range(size.tasks)))
    model = build_model(spec, ModelSettings(experts=size.experts, template="additive"), seed=0)
    settings = TrainSettings(batch_size=1024, embedding_optimizer="adagrad")
    step = GradientStep(model, make_optimizer(model, settings), settings)
    split = made_up_split(size)
    return lambda: train_locally(step, split, settings, seed=0, device=torch.device("cpu"))


def run_turn(scenarios: int) -> Callable[[], object]:
    """Return a run of two rounds over scenarios of few rows."""
    names = [f"s{number:04d}" for number in range(scenarios)]
    rows = "{" + ", ".join(f"{name}: 200" for name in names) + "}"
    sizes = [f"data.synthetic.train_rows={rows}", "data.synthetic.ctr=0.3", "data.synthetic.conversions_per_click=0.5"]
    sizes += ["data.synthetic.validation_rows=200", "data.synthetic.test_rows=200"]
    settings = ["federation.rounds=2", "federation.reference=[]", "federation.selection=macro", "train.threads=1"]
    config = load_config(MADE_UP, overrides=[*sizes, *settings])

    def turn() -> None:
        with TemporaryDirectory() as folder:
            run_inline(config, data=Path(folder) / "data", output=Path(folder) / "run")

    return turn


def seconds(turn: Callable[[], object], turns: int = TURNS) -> float:
    """Return the CPU time of a turn, the least of some after a first one that is not counted."""
    turn()
    spent = []
    for _ in range(turns):
        started = time.process_time()
        turn()
        spent.append(time.process_time() - started)
    return min(spent)


def exponent(sizes: Sequence[int], spent: Sequence[float]) -> float:
    """Return the slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(spent), 1)[0])


def measure(options: argparse.Namespace) -> list[Figure]:
    """Measure all exponents."""
    prepare_process(1)
    logging.disable(logging.WARNING)
    figures = []
    first = Size()
    for name in ("rows", "experts", "tasks", "table_rows"):
        start = getattr(first, name)
        spent = [seconds(training_turn(replace(first, **{name: factor * start}))) for factor in DOUBLINGS]
        figures += _figures(f"a local training: {name.replace('_', ' ')}", start, spent)
    spent = [seconds(run_turn(factor * options.scenarios), turns=1) for factor in DOUBLINGS]
    return figures + _figures("two rounds: scenarios", options.scenarios, spent)


def _figures(what: str, start: int, spent: Sequence[float]) -> list[Figure]:
    sizes = [factor * start for factor in DOUBLINGS]
    return [
        Figure(f"{what}, exponent from {sizes[0]:,} to {sizes[-1]:,}", exponent(sizes, spent), "", goal=1.1),
        Figure(f"{what}, {sizes[-1]:,} over {sizes[0]:,}", spent[-1] / spent[0], better="less"),
    ]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenarios", type=int, default=8, help="smallest number of scenarios")


if __name__ == "__main__":
    show("growth", measure, __doc__, _options)
