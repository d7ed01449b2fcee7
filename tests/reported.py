"""Made-up runs, small enough to be checked by hand: what the tests of the report share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfmsmtrec_flwr.results.frame import Figures
from pfmsmtrec_flwr.results.rounds import MetricsLog
from pfmsmtrec_flwr.results.schema import (
    AttainableResult,
    Examples,
    RunResults,
    ScenarioResult,
    Seconds,
    TaskResult,
    Traffic,
    results_from,
)
from pfmsmtrec_flwr.results.writer import write_results


def task(auc: float | None, positives: int) -> TaskResult:
    return TaskResult(
        auc=auc, logloss=0.25, gauc=auc, gauc_coverage=0.5, calibration=1.125, positives=positives, examples=100
    )


@dataclass(frozen=True)
class RunMaker:
    """Writes runs whose macro AUC of ``ctr`` is `auc`: NL lies 0.1 above it, US as far below; US has no conversion."""

    root: Path

    def results(self, method: str, auc: float, *, seed: int = 0, consensus: bool = False, **more: Any) -> RunResults:
        scenarios = {}
        for name, offset, positives in (("NL", 0.1, 7), ("US", -0.1, 0)):
            conversions = auc if positives else None
            measured = {"ctr": task(auc + offset, 30), "ctcvr": task(conversions, positives)}
            common = {"ctr": task(auc + offset - 0.05, 30), "ctcvr": task(conversions, positives)}
            scenarios[name] = ScenarioResult(
                examples=Examples(train=800, validation=90, test=100),
                selected_round=2,
                tasks=measured,
                consensus=common if consensus else {},
                note="negatives are <sampled>" if name == "US" else "",
            )
        return results_from(method=method, dataset="böden & co", seed=seed, rounds=3, scenarios=scenarios, **more)

    def log(self, folder: Path, method: str, auc: float, *, learned: bool = False) -> None:
        log = MetricsLog(folder, method=method, rounds=3, clock=lambda: 0.0)
        for number in (1, 2, 3):
            validation = {"ctr": {"auc": auc - 0.1 / number}, "ctcvr": {"auc": None}}
            share = 0.5 + 0.1 * number
            log.append(
                number,
                {name: {"loss": 0.5, "validation": validation} for name in ("NL", "US")},
                alpha={name: {"alpha": share, "beta": 1 - share / 2} for name in ("NL", "US")} if learned else None,
                gates={name: {"ctr": [share, 1 - share]} for name in ("NL", "US")} if learned else None,
                conflict={
                    "scenarios": ["NL", "US"],
                    "mean": [0.1 * number, 0.3 * number],
                    "cosines": [[[1.0, 0.1 * number], [0.1 * number, 1.0]], [[1.0, 0.3 * number], [0.3 * number, 1.0]]],
                }
                if learned
                else None,
                attention={
                    "ctr": {
                        "scenarios": ["NL", "US"],
                        "weights": [[share, 1 - share], [0.2 * number, 1 - 0.2 * number]],
                    }
                }
                if learned
                else None,
            )

    def write(self, results: RunResults, folder: Path | None = None, *, learned: bool = False) -> Path:
        """Write results and log; by default where a comparison puts them."""
        folder = folder or self.root / "runs" / results.method / f"seed{results.seed}-0123abcd"
        write_results(results, folder)
        self.log(folder, results.method, results.macro["ctr"].auc or 0.0, learned=learned)
        return folder

    def compared(self) -> list[RunResults]:
        """Return a comparison of four methods: a floor, and with two seeds one alone and two federated methods."""
        best = {name: {"ctr": AttainableResult(auc=0.875, logloss=0.125)} for name in ("NL", "US")}
        sent = Traffic(up_bytes=2_000_000, down_bytes=3_000_000)
        took = Seconds(total=12.5, train=9.25)
        shifts = ((0, -0.01), (1, 0.01))
        return [
            self.results("base-rate", 0.5, family="floor", parameters="global"),
            *(self.results("alone", 0.6 + x, seed=seed, family="alone", best_attainable=best) for seed, x in shifts),
            *(self.results("fedavg", 0.65 + x, seed=seed, parameters="global", traffic=sent) for seed, x in shifts),
            *(
                self.results("pf-msmtrec", 0.7 + x, seed=seed, consensus=True, traffic=sent, seconds=took)
                for seed, x in shifts
            ),
        ]

    def figures(self) -> Figures:
        """Return the figures of `compared`."""
        runs: dict[str, list[RunResults]] = {}
        for results in self.compared():
            runs.setdefault(results.method, []).append(results)
        return Figures(runs)
