"""A stand-in for Flower's engine, and small results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pfmsmtrec_flwr.results.rounds import MetricsLog
from pfmsmtrec_flwr.results.schema import Examples, RunResults, ScenarioResult, TaskResult, results_from
from pfmsmtrec_flwr.results.writer import write_results


def small_results(method: str, auc: float, reference: tuple[str, ...] = ()) -> RunResults:
    task = TaskResult(auc=auc, logloss=0.25, positives=1, examples=10)
    sizes = Examples(train=8, validation=1, test=1)
    scenario = ScenarioResult(examples=sizes, selected_round=1, tasks={"ctr": task})
    return results_from(
        method=method, dataset="synthetic", seed=5, rounds=2, scenarios={"NL": scenario}, reference=reference
    )


@dataclass
class FakeFlower:
    """Stands for Flower's engine: writes what the server app would."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    fails: BaseException | None = None

    def __call__(
        self, app: Path, run_config: Mapping[str, str], *, output: Path, on_poll: Callable[[], None], **resources: Any
    ) -> None:
        self.calls.append({"app": app, "run_config": dict(run_config), "output": output, **resources})
        if self.fails is not None:
            raise self.fails
        log = MetricsLog(output, method="pf-msmtrec", rounds=2)
        for round_number in (1, 2):
            log.append(round_number, {"NL": {"validation": {"ctr": {"auc": 0.5}}}})
            on_poll()
        write_results(small_results("pf-msmtrec", 0.75, ("alone",)), output)
        write_results(small_results("alone", 0.5), output / "alone")
