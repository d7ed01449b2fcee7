"""One experiment: a method, and the methods it is compared with, over one grid; their results as files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from flwr.serverapp import Grid

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.outcome import FederationResult, RoundRecord
from pfmsmtrec_flwr.federation.strategy import RoundCallback
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods import FederatedMethod, Method, federated_method
from pfmsmtrec_flwr.results import table
from pfmsmtrec_flwr.results.schema import (
    Attainable,
    Examples,
    RunResults,
    ScenarioResult,
    Seconds,
    TaskResult,
    Traffic,
    results_from,
)
from pfmsmtrec_flwr.results.writer import MetricsLog, write_results

CONFIG_NAME = "config.yaml"


def run_experiment(grid: Grid, config: RunConfig, output: Path) -> table.Comparison:
    """Run the configured method, then its reference methods, and write what they give.

    Parameters
    ----------
    grid
        Carries the messages.
    config
        The run's configuration.
    output
        Folder of `results.json`, `metrics.jsonl` and `config.yaml`; each reference method has a folder of its name
        below.

    Raises
    ------
    UserError
        A method is unknown, the scenarios do not fit together, or too few of them answer.
    """
    method = federated_method(config.method)
    references = [federated_method(name) for name in config.federation.reference if name != config.method]
    output.mkdir(parents=True, exist_ok=True)
    (output / CONFIG_NAME).write_text(config.to_yaml(), encoding="utf-8")
    result = _train(method, grid, config, output)
    compared = []
    for reference in references:
        folder = output / reference.name
        other = _results(reference, config, _train(reference, grid, config, folder))
        write_results(other, folder)
        compared.append(other)
    # The main method's file comes last: where it is, the run has finished.
    results = _results(method, config, result, [reference.name for reference in references])
    write_results(results, output)
    comparison = table.Comparison(results, tuple(compared))
    logger.info("%s\n\n%s\n\nresults: %s", table.title(comparison), table.text(comparison), output)
    return comparison


def run_inline(config: RunConfig, *, data: Path, output: Path, num_supernodes: int = 2) -> table.Comparison:
    """Run an experiment in this process: the same apps and messages, carried by direct calls.

    Parameters
    ----------
    data, output
        Absolute folders of the prepared data and of the results.
    num_supernodes
        Nodes that host the scenarios; the parameters come out the same, bit for bit, whatever their number.
    """
    from client_app import app

    run_id = secrets.randbits(31)
    run_config = {"output": str(output), "data": str(data)}
    grid = InProcessGrid(app, simulated_contexts(run_id, num_supernodes, run_config))
    with run_identity(run_id):
        return run_experiment(grid, config, output)


def _train(method: FederatedMethod, grid: Grid, config: RunConfig, folder: Path) -> FederationResult:
    own = method.configure(config)
    return method.strategy(own, on_round=_round_logger(method, own, folder)).start(grid)


def _round_logger(method: Method, own: RunConfig, folder: Path) -> RoundCallback:
    log = MetricsLog(folder, method=method.name, rounds=own.federation.rounds)

    def on_round(record: RoundRecord) -> None:
        scenarios = {
            name: {
                "loss": record.losses.get(name),
                "validation": {
                    task: {"auc": figures.auc, "logloss": figures.logloss} for task, figures in tasks.items()
                },
            }
            for name, tasks in record.validation.items()
        }
        log.append(
            record.round,
            scenarios,
            up_bytes=record.up_bytes,
            down_bytes=record.down_bytes,
            alpha=record.shares or None,
            gates=record.gates or None,
            conflict=None if record.conflict is None else asdict(record.conflict),
        )

    return on_round


def _results(
    method: Method, config: RunConfig, result: FederationResult, references: list[str] | None = None
) -> RunResults:
    scenarios = {
        name: _scenario_result(result, name)
        for name in result.scenarios
        if name in result.test  # with a quorum, one may have been missing to the end
    }
    best = {
        name: {
            task: Attainable(auc=figures.get(f"auc.{task}"), logloss=figures[f"logloss.{task}"])
            for task in result.scenarios[name].tasks
        }
        for name, figures in result.best.items()
        if figures
    }
    rounds = result.rounds
    return results_from(
        method=method.name,
        family=method.family,
        parameters=method.parameters,
        dataset=config.data.name,
        seed=config.seed,
        rounds=len(rounds),
        scenarios=scenarios,
        best_attainable=best or None,
        reference=references or [],
        traffic=Traffic(
            up_bytes=sum(record.up_bytes for record in rounds), down_bytes=sum(record.down_bytes for record in rounds)
        ),
        seconds=Seconds(
            total=result.seconds,
            train=sum(record.train_seconds for record in rounds),
            aggregate=sum(record.aggregate_seconds for record in rounds),
        ),
    )


def _scenario_result(result: FederationResult, name: str) -> ScenarioResult:
    description = result.scenarios[name]
    consensus = result.consensus.get(name)
    return ScenarioResult(
        examples=Examples(**description.examples),
        selected_round=result.selected[name],
        tasks={task: _task_result(result.test[name], task) for task in description.tasks},
        consensus={task: _task_result(consensus, task) for task in description.tasks} if consensus else {},
        note=description.note,
    )


def _task_result(figures: Mapping[str, float], task: str) -> TaskResult:
    return TaskResult(
        auc=figures.get(f"auc.{task}"),
        logloss=figures[f"logloss.{task}"],
        gauc=figures.get(f"gauc.{task}"),
        gauc_coverage=figures.get(f"gauc_coverage.{task}"),
        calibration=figures.get(f"calibration.{task}"),
        positives=int(figures[f"positives.{task}"]),
        examples=int(figures[f"examples.{task}"]),
    )
