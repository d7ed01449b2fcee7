"""Made-up runs, small enough to be checked by hand: what the tests of the report share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfmsmtrec_flwr.results.schema import Examples, RunResults, ScenarioResult, TaskResult, results_from
from pfmsmtrec_flwr.results.writer import MetricsLog, write_results


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
            )

    def write(self, results: RunResults, folder: Path | None = None, *, learned: bool = False) -> Path:
        """Write results and log; by default where a comparison puts them."""
        folder = folder or self.root / "runs" / results.method / f"seed{results.seed}-0123abcd"
        write_results(results, folder)
        self.log(folder, results.method, results.macro["ctr"].auc or 0.0, learned=learned)
        return folder
