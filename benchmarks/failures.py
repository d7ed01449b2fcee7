"""AUC that is lost where scenarios fail at random, on small made-up data over the in-process grid.

    python benchmarks/failures.py --seeds 20
    python benchmarks/failures.py --methods fedavg,fedper --shares 0,0.3 --seeds 5

In each exchange every scenario fails with the same probability, independent of the others: its message is not carried
out, as with a node that is away. A scenario that fails keeps its parameters. An exchange in which all fail is repeated.
The loss is that of one seed against the same seed without failures, mean over tasks; `worst scenario` is the one that
loses most in the mean over seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, own_client_app, run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.protocol import TRAIN, VALIDATE
from pfmsmtrec_flwr.methods import federated_method
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.results.rendering import as_markdown
from pfmsmtrec_flwr.results.tables import Cell, FigureTable, Group

MADE_UP = str(Path(__file__).with_name("made_up.yaml"))

WORLD = (
    "{train_rows: {NL: 600, ES: 450, FR: 300, US: 150}, validation_rows: 200, test_rows: 800, ctr: 0.3, "
    "conversions_per_click: 0.4}"
)
SETTINGS = (
    f"data.synthetic={WORLD}",
    *("model.embedding_dim=2", "model.experts=2", "model.expert_layers=[8]", "model.tower_layers=[4]"),
    *("train.batch_size=64", "train.lr=0.01", "train.device=cpu"),
    *(
        "evaluation.calibration=none",
        "federation.rounds=8",
        "federation.patience=0",
        "federation.draws=0",
        "federation.reference=[]",
    ),
    *("federation.min_scenarios=1", "federation.retries=50"),
)
AWAY = 5
"""Code of Flower's error that stands for a node which is away."""


class FailingGrid(InProcessGrid):
    """The in-process grid, on which nodes fail at random.

    Parameters
    ----------
    app, contexts
        Those of `InProcessGrid`.
    share
        Probability that a message to train or to measure is not carried out.
    seed
        Seed of the failures.
    """

    def __init__(self, app: ClientApp, contexts: Mapping[int, Context], *, share: float, seed: int) -> None:
        super().__init__(app, contexts)
        self._share = share
        self._generator = np.random.default_rng([seed, 41])

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Carry messages, or fail."""
        replies = []
        for message in messages:
            fails = self._generator.random() < self._share and message.metadata.message_type in (TRAIN, VALIDATE)
            away = Message(Error(AWAY, "made to fail"), reply_to=message)
            replies += [away] if fails else super().send_and_receive([message], timeout=timeout)
        return replies


@dataclass(frozen=True, slots=True)
class Outcome:
    """Test AUC of each scenario, mean over tasks, and the share of updates that were missed."""

    auc: Mapping[str, float]
    missed: float


def train(config: RunConfig, data: Path, share: float) -> Outcome:
    """Train one method under one seed."""
    with TemporaryDirectory() as folder, run_identity(7):
        contexts = simulated_contexts(7, 4, {"data": str(data), "output": folder})
        grid = FailingGrid(own_client_app(), contexts, share=share, seed=config.seed)
        method = federated_method(config.method)
        result = method.make_strategy(method.configure(config), None, "").start(grid)
    auc = {
        name: statistics.fmean(value for key, value in figures.items() if key.startswith("auc."))
        for name, figures in result.test.items()
    }
    return Outcome(auc, statistics.fmean(len(record.missing) for record in result.rounds) / len(result.scenarios))


def row_of(method: str, share: float, plain: list[Outcome], failing: list[Outcome]) -> tuple[Cell, ...]:
    """Return the row of one method and share of failures."""
    names = sorted(plain[0].auc)
    losses = {
        name: [one.auc[name] - other.auc[name] for one, other in zip(plain, failing, strict=True) if name in other.auc]
        for name in names
    }
    means = [statistics.fmean(own) for own in zip(*losses.values(), strict=True)]
    worst = max(names, key=lambda name: statistics.fmean(losses[name]))
    tested = sum(len(other.auc) == len(names) for other in failing)
    return (
        Cell(method),
        Cell(f"{share:.0%}"),
        Cell(f"{statistics.fmean(other.missed for other in failing):.0%}"),
        Cell(f"{statistics.fmean(auc for other in failing for auc in other.auc.values()):.4f}"),
        Cell(f"{statistics.fmean(means):+.4f}", f"{statistics.stdev(means):.4f}" if len(means) > 1 else ""),
        Cell(f"{statistics.fmean(losses[worst]):+.4f} ({worst})"),
        Cell(f"{tested} of {len(failing)}"),
    )


def table_of(outcomes: Mapping[tuple[str, float], list[Outcome]], plain: float) -> FigureTable:
    """Return the table of the seeds that are done.

    Parameters
    ----------
    outcomes
        Outcomes by method and share of failures, in the order of the seeds.
    plain
        Share that the others are compared with.
    """
    rows = [row_of(method, share, outcomes[method, plain], own) for (method, share), own in outcomes.items()]
    seeds = len(next(iter(outcomes.values())))
    heads = ("method", "failing", "updates missed", "test AUC", "AUC lost", "worst scenario", "all tested")
    title = f"Test AUC under random failures, mean over scenarios and tasks ± sd over {seeds} seeds"
    return FigureTable("failures", title, heads, 1, (Group("", tuple(rows)),))


def main() -> None:
    """Train without and with failures, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="pf-msmtrec", help="names with commas between")
    parser.add_argument("--shares", default="0,0.1,0.3,0.5", help="probabilities of failure; the first is 0")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--output", type=Path, help="file of the table, which grows with each seed")
    arguments = parser.parse_args()
    shares = [float(share) for share in arguments.shares.split(",")]
    outcomes: dict[tuple[str, float], list[Outcome]] = {}
    with TemporaryDirectory() as data:
        for seed in range(arguments.seeds):
            for method in arguments.methods.split(","):
                config = load_config(MADE_UP, method=method, seed=seed, overrides=SETTINGS)
                for share in shares:
                    outcomes.setdefault((method, share), []).append(train(config, Path(data), share))
            if arguments.output is not None:
                arguments.output.write_text(as_markdown(table_of(outcomes, shares[0])), encoding="utf-8")
    print(as_markdown(table_of(outcomes, shares[0])))


if __name__ == "__main__":
    main()
