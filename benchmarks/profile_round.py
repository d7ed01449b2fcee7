"""Shares of the time of a local epoch and of a round, in one process with one thread.

    python benchmarks/profile_round.py synthetic --data DIR
    python benchmarks/profile_round.py kuairand --data DIR --set pf-msmtrec.template=none

All figures are shares of one run, since machines differ. `overhead` is everything but training, re-estimating
normalization statistics and measuring: state on disk, packing and unpacking messages, building the model, the server's
aggregation, and, once per run, the handshake and opening the data.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.scenarios import known_scenarios
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.federation import hosting, node, protocol
from pfmsmtrec_flwr.federation.client import client, measurements, state, trainer
from pfmsmtrec_flwr.federation.inprocess import simulated_contexts
from pfmsmtrec_flwr.federation.server import admission, exchange
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec
from pfmsmtrec_flwr.model import build_model
from pfmsmtrec_flwr.training.description import model_spec
from pfmsmtrec_flwr.training.local import GradientStep, train_locally
from pfmsmtrec_flwr.training.optimizers import make_optimizer
from pfmsmtrec_flwr.training.process import prepare_process

GROUPS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear"),
    "optimiser": ("_fused_adam_", "Optimizer"),
    "embeddings": ("embedding", "index_add", "index_select"),
    "normalization": ("native_batch_norm", "batch_norm"),
    "dropout": ("random_", "ge", "bernoulli"),
}


def profile_epoch(config: RunConfig, data: Path) -> None:
    """Print the shares of time in a local epoch of the largest scenario, by kind of operation."""
    context = simulated_contexts(1, 1, {"data": str(data), "output": str(data)})[1]
    sizes = known_scenarios(config.data, data)
    store = hosting.open_scenario(config, context, max(sizes, key=lambda name: sizes[name]))
    model = build_model(model_spec(store), config.model, config.seed)
    optimizer = make_optimizer(model, config.train)
    prepare_process(1)

    step = GradientStep(model, optimizer, config.train)

    def epoch(seed: int) -> None:
        train_locally(step, store.splits["train"], config.train, seed=seed, device=torch.device("cpu"))

    epoch(0)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        epoch(1)
    shares: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        name = event.key.removeprefix("aten::")
        group = next((group for group, starts in GROUPS.items() if name.startswith(starts)), "element-wise and other")
        shares[group] += event.self_cpu_time_total
    total = sum(shares.values())
    print(f"local epoch of {store.scenario}, {len(store.splits['train']):,} rows:")
    for group, spent in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"  {group:24s} {spent / total:6.1%}")


def profile_rounds(config: RunConfig, data: Path) -> None:
    """Print the shares of time in the rounds of a run over the in-process grid, by step."""
    spent: dict[str, float] = defaultdict(float)

    def timed(owner: Any, name: str, step: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                spent[step] += time.perf_counter() - started

        setattr(owner, name, wrapper)

    timed(trainer, "train_locally", "training")
    timed(measurements, "refresh_statistics", "normalization statistics")
    timed(measurements, "predict", "measuring")
    timed(measurements, "measure", "measuring")
    timed(client, "make_model", "overhead: building the model")
    for name in ("load", "save", "save_evaluated"):
        timed(state.LocalState, name, "overhead: state on disk")
    for owner, name in (
        (protocol.Delivery, "__init__"),
        (protocol.Delivery, "to"),
        (node, "pack_replies"),
        (exchange, "pack_orders"),
    ):
        timed(owner, name, "overhead: messages")
    timed(admission.Admission, "of", "overhead: reading and checking replies")
    timed(PFMSMTRec, "aggregate", "overhead: aggregation")
    with TemporaryDirectory() as output:
        started = time.perf_counter()
        run_inline(config, data=data, output=Path(output) / "run", num_supernodes=2)
        total = time.perf_counter() - started
    spent["overhead: all else"] = total - sum(spent.values())
    print(f"{config.federation.rounds} rounds of {config.method}, in process:")
    for step, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {step:32s} {seconds / total:6.1%}")
    overhead = sum(seconds for step, seconds in spent.items() if step.startswith("overhead"))
    print(f"  overhead / training = {overhead / spent['training']:.1%}")


def main() -> None:
    """Profile the configuration that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("conf")
    parser.add_argument("--data", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    overrides = ["federation.reference=[]", f"federation.rounds={arguments.rounds}", *arguments.set]
    config = load_config(arguments.conf, overrides=overrides).for_method("pf-msmtrec")
    profile_epoch(config, arguments.data)
    logger.setLevel(logging.ERROR)
    profile_rounds(config, arguments.data)


if __name__ == "__main__":
    main()
