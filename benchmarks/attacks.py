"""AUC of the honest scenarios while one participant sends what it should not, in a table.

    python benchmarks/attacks.py
    python benchmarks/attacks.py --attacker NL --seeds 1 --set federation.clip=0

Four made-up scenarios train for eight rounds over the in-process grid; one of them, the attacker, trains honestly and
changes its reply before it leaves. A row of the table is an attack, a column a method with its average. Figures are the
mean test AUC of the other three scenarios over tasks and seeds, and its difference from a run without the attacker.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import torch

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.receiving import table_forms
from pfmsmtrec_flwr.federation.client.tables import received_tables
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, Tensors
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods.configuration import load_config

MADE_UP = str(Path(__file__).with_name("made_up.yaml"))

SCENARIOS = {"NL": 3200, "ES": 2400, "FR": 2000, "US": 1600}
"""Training rows of the made-up scenarios."""
WORLD = (
    f"data.synthetic={{train_rows: {SCENARIOS}, validation_rows: 1000, test_rows: 5000, ctr: 0.2}}",
    "federation.rounds=8",
    "federation.patience=0",
    "federation.reference=[]",
    "train.lr=0.004",
    "train.batch_size=128",
    "model.embedding_dim=4",
    "model.expert_layers=[32, 16]",
    "model.tower_layers=[16]",
)
COLUMNS = {
    "pf-msmtrec": ("pf-msmtrec", "mean"),
    "fedavg-rows, mean": ("fedavg-rows", "mean"),
    "fedavg-rows, median": ("fedavg-rows", "median"),
    "fedavg-rows, trimmed": ("fedavg-rows", "trimmed"),
}
"""Method and average by the name of the column."""

Attack = Callable[[Reply, Tensors], Reply]
"""Function of an honest reply, and of the values that the scenario had received, that returns what is sent."""


def stretched(factor: float) -> Attack:
    """Return the attack that multiplies the whole update."""

    def attack(reply: Reply, received: Tensors) -> Reply:
        def stretch(start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
            return start + factor * (end - start) if end.is_floating_point() else end

        parameters = {name: stretch(received[name], end) for name, end in reply.parameters.items()}
        rows = {
            name: replace(table, values=stretch(received[name][table.rows], table.values))
            for name, table in reply.rows.items()
        }
        return replace(reply, parameters=parameters, rows=rows)

    return attack


def one_weight(reply: Reply, received: Tensors) -> Reply:  # noqa: ARG001 - an attack
    """Set one weight of an expert to 1e30."""
    name = next(name for name in reply.parameters if name.startswith("experts.") and name.endswith(".weight"))
    value = reply.parameters[name].clone()
    value.view(-1)[0] = 1e30
    return replace(reply, parameters=reply.parameters | {name: value})


def zero_rows(reply: Reply, received: Tensors) -> Reply:
    """Set all rows of the tables to zero, each with the largest number of uses that fits a message."""
    rows = {}
    for name in reply.rows:
        table = received[name]
        every = torch.arange(len(table))
        rows[name] = RowUpdate(every, torch.zeros_like(table), torch.full_like(every, 2**31 - 1))
    return replace(reply, rows=rows)


def many_examples(reply: Reply, received: Tensors) -> Reply:  # noqa: ARG001 - an attack
    """Claim to have trained on 1e18 rows."""
    return replace(reply, figures=reply.figures | {"examples": 1e18})


ATTACKS: dict[str, Attack] = {
    "sign flip × 1000": stretched(-1000.0),
    "one weight 1e30": one_weight,
    "× 10": stretched(10.0),
    "zero rows, counts 2³¹−1": zero_rows,
    "examples 1e18": many_examples,
}
"""Attacks by their names in the table."""


@contextmanager
def attacked(attacker: str, attack: Attack) -> Iterator[None]:
    """Let the attacker change its replies to orders to train."""
    honest = ScenarioClient.train

    def train(self: ScenarioClient, order: Order, incoming: Incoming) -> Reply:
        reply = honest(self, order, incoming)
        name = self.store.scenario
        if name != attacker:
            return reply
        came = received_tables(incoming, self.state.load(order.exchange - 1).tables, table_forms(self), self.used)
        whole = {key: copy.table() for key, copy in came.copies.items()}
        return attack(reply, came.incoming.common | came.incoming.personal.get(name, {}) | whole)

    ScenarioClient.train = train  # type: ignore[method-assign]
    try:
        yield
    finally:
        ScenarioClient.train = honest  # type: ignore[method-assign]


def honest_auc(config: RunConfig, honest: Sequence[str]) -> float:
    """Run a configuration, and return the mean test AUC of the honest scenarios over their tasks."""
    with TemporaryDirectory() as folder:
        results = run_method(config, data=Path(folder), output=Path(folder) / "run")
    return fmean(fmean(task.auc or 0.0 for task in results.scenarios[name].tasks.values()) for name in honest)


def column(config: RunConfig, attacker: str, seeds: Iterable[int]) -> list[float]:
    """Return the mean AUC over the seeds without the attacker, with its honest replies, and under each attack."""
    honest = [name for name in SCENARIOS if name != attacker]
    found: list[list[float]] = []
    for seed in seeds:
        started = time.process_time()
        seeded = config.with_settings({"seed": seed, "federation.min_scenarios": len(honest)}, "attacks")
        alone = seeded.federation.model_copy(update={"scenarios": tuple(honest)})
        without = seeded.model_copy(update={"federation": alone})
        row = [honest_auc(without, honest), honest_auc(seeded, honest)]
        for attack in ATTACKS.values():
            with attacked(attacker, attack):
                row.append(honest_auc(seeded, honest))
        found.append(row)
        figures = " ".join(f"{auc:.4f}" for auc in row)
        spent = time.process_time() - started
        print(f"{config.method} {config.federation.average} seed {seed}: {figures}, {spent:.0f} s", file=sys.stderr)
    return [fmean(values) for values in zip(*found, strict=True)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacker", choices=SCENARIOS, default="ES")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--columns", default=",".join(map(str, range(len(COLUMNS)))), help="numbers of the columns")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    logger.setLevel(logging.ERROR)
    base = load_config(MADE_UP, overrides=[*WORLD, *given.set])
    chosen = [list(COLUMNS)[int(number)] for number in given.columns.split(",")]
    columns = []
    for name in chosen:
        method, average = COLUMNS[name]
        config = base.with_settings({"method": method, "federation.average": average}, "attacks")
        columns.append(column(config, given.attacker, range(given.seeds)))
    print("| " + " | ".join(["attack", *chosen]) + " |")
    print("|---|" + "---:|" * len(chosen))
    for place, name in enumerate(["none, the attacker is absent", "none, it is honest", *ATTACKS]):
        cells = [f"{own[place]:.4f} ({own[place] - own[0]:+.4f})" if place else f"{own[0]:.4f}" for own in columns]
        print("| " + " | ".join([name, *cells]) + " |")


if __name__ == "__main__":
    main()
