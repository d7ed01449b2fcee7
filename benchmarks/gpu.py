"""Local training, shares and a whole round on a GPU, beside the CPU of the same machine.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --rows 4000    # the same steps without a GPU, which say nothing of one

Rows per second of a local training with rows that stay on the GPU and with batches that are sent from pinned memory,
in float32 and in bfloat16; of one, two and four processes at once that hold shares of 1, 0.5 and 0.25; and rounds of a
run. Beside them, how far predictions of the GPU are from those of the CPU, and the number of parameters in which two
trainings on the GPU differ. Without a GPU the script says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from figures import Figure, show

from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.federation.inprocess import own_client_app
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
from pfmsmtrec_flwr.results.schema import RunResults
from pfmsmtrec_flwr.training import local
from pfmsmtrec_flwr.training.devices import compute_repeatably
from pfmsmtrec_flwr.training.evaluation import predict
from pfmsmtrec_flwr.training.local import GradientStep, train_locally
from pfmsmtrec_flwr.training.optimizers import make_optimizer

MADE_UP = str(Path(__file__).with_name("made_up.yaml"))

CPU = torch.device("cpu")
FIELDS, NUMERIC, TABLE_ROWS = 16, 63, 10_000
MODEL = {"experts": 8, "expert_layers": (64, 32), "embedding_dim": 8, "dropout": 0.0}
"""Sizes of the model, without dropout, which is drawn otherwise on a GPU."""
WORLD = "{train_rows: {NL: 20000, ES: 12000, FR: 7000, US: 4000}, validation_rows: 10000, test_rows: 10000, ctr: 0.08}"


@dataclass(frozen=True)
class Trained:
    """Outcome of a training.

    Attributes
    ----------
    rate
        Rows per second of the second pass, after one that warms up.
    state
        Parameters after it, as one vector on the CPU.
    predictions
        Predicted probabilities (n, T) of the rows.
    """

    rate: float
    state: torch.Tensor
    predictions: np.ndarray


def made_up_rows(count: int) -> Split:
    """Draw rows whose labels follow from the numeric columns."""
    generator = np.random.default_rng(0)
    numeric = generator.normal(size=(count, NUMERIC)).astype(np.float32)
    score = numeric[:, :2] + generator.normal(size=(count, 2))
    categorical = generator.integers(0, TABLE_ROWS, (count, FIELDS)).astype(np.int32)
    return Split(categorical, numeric, (score > 1).astype(np.uint8), users=None, probabilities=None)


def train(rows: Split, device: torch.device, *, mixed: bool = False, barrier: Barrier | None = None) -> Trained:
    """Train a model on rows twice, with all processes of the barrier at once; the second pass is timed."""
    fields = tuple(FieldSpec(f"f{number}", TABLE_ROWS, federated=True) for number in range(FIELDS))
    spec = ModelSpec(fields, NUMERIC, ("ctr", "ctcvr"))
    model = build_model(spec, ModelSettings.model_validate(MODEL), seed=0).to(device)
    settings = TrainSettings(batch_size=2048, mixed_precision=mixed)
    step = GradientStep(model, make_optimizer(model, settings), settings)
    train_locally(step, rows, settings, seed=0, device=device)
    if barrier is not None:
        barrier.wait()
    seconds = train_locally(step, rows, settings, seed=1, device=device).seconds  # its losses have arrived by then
    state = torch.cat([parameter.detach().cpu().flatten() for parameter in model.parameters()])
    return Trained(len(rows) / seconds, state, predict(model, rows, device))


@contextlib.contextmanager
def batch_by_batch() -> Iterator[None]:
    """Keep no rows on the GPU."""
    training: Any = local
    fit = training.rows_fit
    training.rows_fit = lambda *_: False
    try:
        yield
    finally:
        training.rows_fit = fit


def training_figures(rows: Split, device: torch.device) -> Iterator[Figure]:
    """Measure local trainings in this process."""
    cpu, usual = train(rows, CPU), train(rows, device)
    compute_repeatably(device)
    kept, again, mixed = train(rows, device), train(rows, device), train(rows, device, mixed=True)
    with batch_by_batch():
        sent = train(rows, device)
    yield Figure("local training, rows on the device", kept.rate, "rows/s")
    yield Figure("the same against one thread of the CPU", kept.rate / cpu.rate, better="more")
    yield Figure("the same against batches from pinned memory", kept.rate / sent.rate, better="more")
    yield Figure("the same in bfloat16", mixed.rate / kept.rate, better="more")
    yield Figure("repeatable sums against the usual ones", kept.rate / usual.rate, better="more")
    yield Figure("parameters that differ in a second training", int((kept.state != again.state).sum()), "", "less", 0)
    for name, other in (("float32", kept), ("bfloat16", mixed)):
        apart = float(np.abs(other.predictions - cpu.predictions).mean())
        yield Figure(f"mean distance of probabilities from the CPU's, {name}", apart, "", "less", 0.01)


def train_in_share(share: float, count: int, device: torch.device, barrier: Barrier) -> float:
    """Train in a process of its own that may take a share of the device's memory; return rows per second."""
    torch.set_num_threads(1)
    compute_repeatably(device)
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(share, device)
    return train(made_up_rows(count), device, barrier=barrier).rate


def share_figures(count: int, device: torch.device) -> Iterator[Figure]:
    """Measure one, two and four processes at once."""
    whole = 0.0
    for share in (1.0, 0.5, 0.25):
        processes, context = round(1 / share), multiprocessing.get_context("spawn")
        with context.Manager() as manager, context.Pool(processes) as pool:
            barrier = manager.Barrier(processes)
            rates = pool.starmap(train_in_share, [(share, count, device, barrier)] * processes, chunksize=1)
        whole = whole or sum(rates)
        yield Figure(f"{processes} at once with {share:g} each, all together", sum(rates), "rows/s")
        yield Figure(f"{processes} at once against one with 1", sum(rates) / whole, better="more")


def run_once(device: torch.device, rounds: int, folder: Path, name: str) -> tuple[float, RunResults]:
    """Run PF-MSMTrec on made-up scenarios in this process; return the seconds of a round, and the results."""
    overrides = [f"data.synthetic={WORLD}", f"train.device={device}", f"federation.rounds={rounds}"]
    config = load_config(MADE_UP, overrides=[*overrides, "federation.patience=0", "federation.reference=[]"])
    started = time.perf_counter()
    (results,) = run_inline(config, data=folder / "data", output=folder / name)
    return (time.perf_counter() - started) / rounds, results


def round_figures(device: torch.device, rounds: int) -> Iterator[Figure]:
    """Measure the rounds of a run, handshake and test included, and compare its test AUC."""
    own_client_app()  # it turns the log on
    logger.setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        run_once(device, 1, Path(folder), "first")  # makes up the data
        on_cpu, expected = run_once(CPU, rounds, Path(folder), "cpu")
        on_device, results = run_once(device, rounds, Path(folder), "device")
    yield Figure("a round of four scenarios", on_device, "s")
    yield Figure("the same against the CPU", on_cpu / on_device, better="more")
    for task, macro in results.macro.items():
        apart = abs((macro.auc or 0.0) - (expected.macro[task].auc or 0.0))
        yield Figure(f"distance of the mean test AUC from the CPU's, {task}", apart, "", "less", 0.02)


def measure(options: argparse.Namespace) -> Sequence[Figure]:
    """Measure all of it."""
    device = torch.device(options.device)
    torch.set_num_threads(1)
    return [
        *training_figures(made_up_rows(options.rows), device),
        *share_figures(options.rows, device),
        *round_figures(device, options.rounds),
    ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command line."""
    parser.add_argument("--device", default="cuda:0", help="device that is measured: cuda:0 unless given")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=4)


def main() -> None:
    """Measure where there is a GPU, and say so where there is none."""
    parser = argparse.ArgumentParser(add_help=False)
    add_options(parser)
    if parser.parse_known_args()[0].device.startswith("cuda") and not torch.cuda.is_available():
        print("no GPU here: nothing was measured")
        return
    show("gpu", measure, __doc__, add_options)


if __name__ == "__main__":
    main()
