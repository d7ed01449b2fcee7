"""A runner that stands for training, and an executor in this process: what the tests of comparisons share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pfmsmtrec_flwr.comparison.jobs import Job, JobStage, digest_of
from pfmsmtrec_flwr.comparison.pruning import Floor, is_hopeless, score_curve
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.rounds import MetricsLog
from pfmsmtrec_flwr.results.schema import (
    Examples,
    Family,
    RunResults,
    ScenarioResult,
    Seconds,
    TaskResult,
    Traffic,
    results_from,
)
from pfmsmtrec_flwr.results.summarizing import Finished
from pfmsmtrec_flwr.results.summary import Described
from pfmsmtrec_flwr.results.writer import write_results

BASES = {"alone": 0.60, "fedavg": 0.62, "pf-msmtrec": 0.64}
"""AUC in the first scenario by method; 0.6 for others."""


class Direct(Executor):
    """Calls at once, in this process."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


def run_results(
    method: str,
    seed: int,
    auc: Mapping[str, Mapping[str, float | None]],
    *,
    family: Family = "federated",
    consensus: Mapping[str, Mapping[str, float | None]] | None = None,
    traffic: tuple[int, int] = (0, 0),
    seconds: float = 2.0,
    selected: int = 1,
) -> RunResults:
    """Return results with the given AUC by scenario and task; log loss is 1 - AUC, GAUC is AUC less 0.1."""
    scenarios = {
        name: ScenarioResult(
            examples=Examples(train=100, validation=20, test=40),
            selected_round=selected,
            tasks={task: _task(value) for task, value in tasks.items()},
            consensus={task: _task(value) for task, value in (consensus or {}).get(name, {}).items()},
        )
        for name, tasks in auc.items()
    }
    return results_from(
        method=method,
        family=family,
        dataset="made",
        seed=seed,
        rounds=2,
        scenarios=scenarios,
        traffic=Traffic(up_bytes=traffic[0], down_bytes=traffic[1]),
        seconds=Seconds(total=seconds),
    )


def finished_of(
    name: str, runs: Mapping[int, RunResults], *, trials: int = 0, folders: Mapping[int, str] | None = None
) -> Finished:
    """Return a variant with its runs."""
    first = next(iter(runs.values()))
    described = Described(
        name=name,
        method=first.method,
        family=first.family,
        parameters=first.parameters,
        settings={},
        trials=trials,
        validation=None,
    )
    return Finished(described, runs, folders or {})


def _task(auc: float | None) -> TaskResult:
    return TaskResult(
        auc=auc,
        logloss=None if auc is None else 1 - auc,
        gauc=None if auc is None else auc - 0.1,
        gauc_coverage=0.5,
        calibration=1.0,
        positives=0 if auc is None else 10,
        examples=40,
    )


@dataclass(frozen=True)
class Fake:
    """Stands for training: figures follow from the settings; every call leaves a line in the journal.

    Attributes
    ----------
    journal
        File of the calls.
    fails
        Methods that fail by a user's mistake.
    breaks
        Methods that fail by a defect.
    rounds
        Number of rounds of a run.
    """

    journal: Path
    fails: tuple[str, ...] = ()
    breaks: tuple[str, ...] = ()
    rounds: int = 2

    def __call__(self, config: RunConfig, *, data: Path, output: Path, floor: Floor = ()) -> None:  # noqa: ARG002
        with self.journal.open("a") as stream:
            stream.write(json.dumps([config.method, config.seed, str(output)]) + "\n")
        if config.method in self.fails:
            raise UserError(f"{config.method} does not\ntrain")
        if config.method in self.breaks:
            raise ZeroDivisionError("a defect")
        quality = quality_of(config)
        names = config.federation.scenarios or ("A", "B")
        log = MetricsLog(output, method=config.method, rounds=self.rounds)
        for number in range(1, self.rounds + 1):
            score = quality - 0.01 * (self.rounds - number) / (self.rounds - 1)
            log.append(number, {name: {"validation": {"ctr": {"auc": score}}} for name in names})
            if is_hopeless(score_curve(output), floor):
                return
        auc = {name: {"ctr": quality - 0.02 * place} for place, name in enumerate(names)}
        (output / "config.yaml").write_text(config.to_yaml())
        (output / "clients").mkdir()
        (output / "clients" / "model.safetensors").write_text("weights")
        traffic = (1_000_000, 500_000)
        write_results(run_results(config.method, config.seed, auc, traffic=traffic, selected=self.rounds), output)

    @property
    def calls(self) -> list[tuple[str, int, str]]:
        """Method, seed and folder of every call."""
        if not self.journal.exists():
            return []
        return [tuple(json.loads(line)) for line in self.journal.read_text().splitlines()]


def quality_of(config: RunConfig) -> float:
    """Return the AUC that `Fake` gives a configuration in the first scenario; best at a rate of 0.004, 512 a batch."""
    quality = BASES.get(config.method, 0.6) + 0.001 * config.seed
    quality += 0.01 * max(0.0, 2 - abs(math.log2(config.train.lr / 0.004)))
    quality += 0.01 if config.train.batch_size == 512 else 0.0
    own = config.methods.get(config.method, {})
    return quality - (0.03 if own.get("regularization") == 0 else 0.0)


def job_of(
    folder: Path,
    config: RunConfig,
    run: Any,
    *,
    name: str = "it",
    stage: JobStage = JobStage.RUN,
    keep_models: bool = False,
    floor: Floor = (),
    fresh: bool = False,
    data: Path | None = None,
    sources: str = "",
) -> Job:
    """Return a job."""
    return Job(
        name=name,
        stage=stage,
        config=config,
        digest=digest_of(config, "rows"),
        folder=folder,
        data=data or folder.parent,
        run=partial(run, floor=floor) if floor else run,
        keep_models=keep_models,
        floor=floor,
        fresh=fresh,
        sources=sources,
    )


def program(*batches: Sequence[Job]) -> Any:
    """Return a program of the given batches."""
    yield from batches
