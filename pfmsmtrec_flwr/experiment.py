"""One experiment: a method and those it is compared with, and their results as files."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.scenarios import chosen_scenarios, open_checked_store
from pfmsmtrec_flwr.data.store.disk import sync_file
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, own_client_app, run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.locations import CLIENTS_NAME, START_KEY
from pfmsmtrec_flwr.federation.resume.checkpoints import clear_write_errors, write_whole
from pfmsmtrec_flwr.federation.resume.run_checkpoints import RunBeginning, RunCheckpoints, run_checkpoints
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods import CentralMethod, FederatedMethod, Method, federated_method, find_method
from pfmsmtrec_flwr.methods.configuration import complete, methods_of
from pfmsmtrec_flwr.methods.noising import noise_spent, require_noise
from pfmsmtrec_flwr.methods.starting import require_starting
from pfmsmtrec_flwr.results.drawn import drawn_differences, with_intervals, write_draws
from pfmsmtrec_flwr.results.missing import missing_in
from pfmsmtrec_flwr.results.overviews import run_table
from pfmsmtrec_flwr.results.predictions import SCENARIO_FILE, load_predictions, write_predictions
from pfmsmtrec_flwr.results.rendering import as_text
from pfmsmtrec_flwr.results.rounds import METRICS_NAME, MetricsLog
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
from pfmsmtrec_flwr.scoring.finished_model import FinishedModel
from pfmsmtrec_flwr.scoring.folder_content import complete_folder
from pfmsmtrec_flwr.training.draws import drawn_auc
from pfmsmtrec_flwr.training.metrics import COUNTS
from pfmsmtrec_flwr.training.records import RoundCallback, RoundRecord, TrainingResult
from pfmsmtrec_flwr.training.selection import choice_without_auc
from pfmsmtrec_flwr.validation import safe_folder

CONFIG_NAME = "config.yaml"

Train = Callable[[Method, RunConfig, RoundCallback], TrainingResult]
"""Function that trains a method under its own configuration."""


def run_experiment(
    grid: Grid, config: RunConfig, output: Path, start_from: str = "", *, data: str = "", resume: bool = False
) -> list[RunResults]:
    """Run the configured method, then its reference methods, over a grid, and write their results.

    Until the end the output folder holds checkpoints, from which a run that was broken off can be resumed.

    Parameters
    ----------
    grid
        Grid that carries the messages.
    config
        The run's configuration.
    output
        Folder of `results.json`, `metrics.jsonl` and `config.yaml`; each reference method has a folder of its name
        below.
    start_from
        Run from whose models the scenarios start, each method from its own; empty if they start anew.
    data
        Folder of prepared data as the run names it, for whoever resumes it.
    resume
        Whether the run in the output folder, which was broken off, goes on.

    Raises
    ------
    UserError
        A method is unknown, needs the rows of all scenarios in one place, or cannot start from saved models, the
        scenarios do not match, or too few of them answer; there is nothing to resume, or something else.
    """
    methods = [federated_method(method.file or method.name) for method in methods_of(config)]
    if start_from:
        require_starting(methods)

    beginning = RunBeginning.of(complete(config), run=grid.run.run_id, data=data, start_from=start_from)
    with run_checkpoints(output, beginning, resume=resume) as checkpoints:

        def train(method: Method, own: RunConfig, on_round: RoundCallback) -> TrainingResult:
            return _train_over(grid, method, own, on_round, start_from, checkpoints)

        return _compare(methods, config, output, train, start_from, checkpoints)


def run_inline(
    config: RunConfig,
    *,
    data: Path,
    output: Path,
    num_supernodes: int = 2,
    start_from: str = "",
    resume: bool = False,
) -> list[RunResults]:
    """Run an experiment in this process: direct calls carry the messages of the same apps.

    Methods that need the rows of all scenarios in one place may be among its methods.

    Parameters
    ----------
    data, output
        Absolute folders of the prepared data and of the results.
    num_supernodes
        Number of nodes that host the scenarios; the parameters do not depend on it, bit for bit.
    start_from
        Absolute output folder of the run from whose models the scenarios start; empty if they start anew.
    resume
        Whether the run in the output folder, which was broken off, goes on.

    Raises
    ------
    UserError
        A method is unknown or cannot start from saved models, or the scenarios do not fit together; there is nothing
        to resume, or something else.
    """
    methods = methods_of(config)
    if start_from:
        require_starting(methods)
    beginning = RunBeginning.of(complete(config), run=secrets.randbits(31), data=str(data), start_from=start_from)
    with (
        run_checkpoints(output, beginning, resume=resume) as checkpoints,
        _trainer_here(data, output, num_supernodes, start_from, checkpoints) as train,
    ):
        return _compare(methods, config, output, train, start_from, checkpoints)


def run_method(config: RunConfig, *, data: Path, output: Path, on_round: RoundCallback | None = None) -> RunResults:
    """Run the configured method, of any family, in this process, without its reference methods.

    Parameters
    ----------
    config
        The run's configuration.
    data, output
        Absolute folders of the prepared data and of `results.json`, `metrics.jsonl`, `config.yaml`, and the predictions
        of test rows; they are what users can be drawn from later, so none are drawn here.
    on_round
        Function that is called once per round, when its line is written; an exception of it ends the run.

    Raises
    ------
    UserError
        The method is unknown, or the scenarios do not fit together.
    """
    method = find_method(config.method)
    write_config(config, output)
    own = method.configure(config.with_settings({"federation.draws": 0}, "run_method"))  # predictions are kept instead
    require_noise(method, own)
    log = _round_logger(method, own, output)

    def log_round(record: RoundRecord) -> None:
        log(record)
        if on_round is not None:
            on_round(record)

    with _trainer_here(data, output, 1) as train:
        result = train(method, own, log_round)
    write_predictions(result.predictions, output)
    results = results_of(method, config, result)
    write_results(results, output)
    return results


def _compare(
    methods: Sequence[Method],
    config: RunConfig,
    output: Path,
    train: Train,
    start_from: str,
    checkpoints: RunCheckpoints,
) -> list[RunResults]:
    method, *references = methods
    write_config(config, output)
    result = _train_once(train, method, config, output, start_from, checkpoints)
    compared = []
    for reference in references:
        folder = output / reference.name
        trained = _train_once(train, reference, config, folder, start_from, checkpoints)
        other = results_of(reference, config, trained, start_from=start_from)
        write_draws(trained.draws, folder)
        write_results(other, folder)
        compared.append((other, trained.draws))
    # The main method's file comes last: where it is, the run has finished.
    names = [reference.name for reference in references]
    results = results_of(method, config, result, names, start_from=start_from)
    differences = list(drawn_differences(results, result.draws, compared))
    results = results.model_copy(update={"differences": differences})
    write_draws(result.draws, output)
    write_results(results, output)
    runs = [results, *(other for other, _ in compared)]
    logger.info(as_text(run_table(runs)))
    return runs


def write_config(config: RunConfig, output: Path) -> None:
    """Write the whole configuration into the folder of a run, which is made.

    Raises
    ------
    UserError
        The folder cannot be written to.
    """
    path = output / CONFIG_NAME
    with clear_write_errors(path):
        output.mkdir(parents=True, exist_ok=True)
        write_whole(path, complete(config).to_yaml().encode())


def _train_once(
    train: Train, method: Method, config: RunConfig, folder: Path, start_from: str, checkpoints: RunCheckpoints
) -> TrainingResult:
    """Train a method, unless it had finished when the run was broken off."""
    result = checkpoints.finished(method.name)
    if result is not None:
        logger.info("%s has finished its training already", method.name)
        return result
    own = method.configure(config)
    require_noise(method, own, start_from)
    result = train(method, own, _round_logger(method, own, folder))
    with clear_write_errors(folder / METRICS_NAME):
        sync_file(folder / METRICS_NAME)  # the rounds are not reported again
    checkpoints.finish(method.name, result)
    return result


@contextmanager
def _trainer_here(
    data: Path, output: Path, num_supernodes: int, start_from: str = "", checkpoints: RunCheckpoints | None = None
) -> Iterator[Train]:
    """Open a function that trains methods of any family in this process."""
    run_id = secrets.randbits(31)
    run_config = {"output": str(output), "data": str(data), START_KEY: start_from}
    grid = InProcessGrid(own_client_app(), simulated_contexts(run_id, num_supernodes, run_config))

    def train(method: Method, own: RunConfig, on_round: RoundCallback) -> TrainingResult:
        if isinstance(method, CentralMethod):
            stores = [open_checked_store(own.data, data, name) for name in sorted(chosen_scenarios(own, data))]
            result = method.train(own, stores, on_round)
            drawn = {
                store.scenario: drawn_auc(store, result.predictions[store.scenario], own.federation.draws)
                for store in stores
            }
            result.draws = {name: auc for name, auc in drawn.items() if auc}
            for store in stores:
                _save_model(result, store, own, output / CLIENTS_NAME / method.name)
            return result
        result = _train_over(grid, method, own, on_round, start_from, checkpoints)
        result.predictions = _kept_predictions(output / CLIENTS_NAME / method.name, list(result.test))
        return result

    with run_identity(run_id):
        yield train


def _save_model(result: TrainingResult, store: ScenarioStore, own: RunConfig, folder: Path) -> None:
    """Save a scenario's model of a central method as a client saves its own; a method of a plugin may have none."""
    name = store.scenario
    if name not in result.models:
        return
    model = result.models[name]
    finished = FinishedModel(
        result.selected[name],
        model.spec,
        result.test[name],
        result.draws.get(name, {}),
        result.calibrations.get(name),
        scenario_value=model.scenario_value,
        kind=model.kind,
    )
    state = LocalState(safe_folder(folder, name))
    state.save_predictions(result.predictions[name])
    state.save_model(model.tensors, lambda path: complete_folder(finished, store, own, path))


def _kept_predictions(folder: Path, scenarios: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return the predictions that the clients of this process kept in a method's folder."""
    found = {name: load_predictions(folder / name / SCENARIO_FILE) for name in scenarios}
    return {name: predictions for name, predictions in found.items() if predictions is not None}


def _train_over(
    grid: Grid,
    method: Method,
    own: RunConfig,
    on_round: RoundCallback,
    start_from: str,
    checkpoints: RunCheckpoints | None,
) -> TrainingResult:
    if not isinstance(method, FederatedMethod):
        raise TypeError(f"method {method.name} exchanges no messages")
    strategy = method.make_strategy(own, on_round, start_from)
    if checkpoints is not None:
        strategy.checkpoints = checkpoints.of(method.name)
        strategy.first_run = checkpoints.run
    return strategy.start(grid)


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
            attention={task: asdict(own) for task, own in record.attention.items()} or None,
            missing=record.missing,
            unmeasured=record.unmeasured,
            seconds=record.elapsed,
        )

    return on_round


def results_of(
    method: Method,
    config: RunConfig,
    result: TrainingResult,
    references: list[str] | None = None,
    *,
    start_from: str = "",
) -> RunResults:
    """Return the content of `results.json` for a training.

    Parameters
    ----------
    method, config
        Method and its configuration.
    result
        Outcome of the training.
    references
        Names of the methods run beside it.
    start_from
        Run from whose models the scenarios started; empty if they started anew.
    """
    scenarios = {
        name: _scenario_result(result, name, config)
        for name in result.scenarios
        if name in result.test  # with a quorum, one may have been missing to the end
    }
    best = {
        name: {
            task: AttainableResult(auc=figures.get(f"auc.{task}"), logloss=figures[f"logloss.{task}"])
            for task in result.scenarios[name].tasks
        }
        for name, figures in result.best.items()
        if figures
    }
    rounds = result.rounds
    results = results_from(
        method=method.name,
        family=method.family,
        parameters=method.parameters,
        dataset=config.data.name,
        seed=config.seed,
        rounds=sum(record.round > 0 for record in rounds),  # round 0 is the start
        scenarios=scenarios,
        missing=missing_in(
            {record.round: record.missing for record in rounds if record.round > 0},
            scenarios=result.scenarios,
            tested=result.test,
            reasons=result.absent,
        ),
        best_attainable=best or None,
        reference=references or [],
        start_from=start_from,
        traffic=Traffic(
            up_bytes=sum(record.up_bytes for record in rounds), down_bytes=sum(record.down_bytes for record in rounds)
        ),
        seconds=Seconds(
            total=result.seconds,
            train=sum(record.train_seconds for record in rounds),
            aggregate=sum(record.aggregate_seconds for record in rounds),
        ),
    )
    results = results.model_copy(update={"privacy": noise_spent(method, config, rounds)})
    return with_intervals(results, result.draws)


def _scenario_result(result: TrainingResult, name: str, config: RunConfig) -> ScenarioResult:
    description = result.scenarios[name]
    consensus = result.consensus.get(name)
    counts = {figure: value for figure, value in result.test[name].items() if figure.startswith(COUNTS)}
    return ScenarioResult(
        examples=Examples(**description.examples),
        selected_round=result.selected[name],
        tasks={task: _task_result(result.test[name], task) for task in description.tasks},
        consensus={task: _task_result(counts | consensus, task) for task in description.tasks} if consensus else {},
        note="; ".join(filter(None, (description.note, _choice_note(result, name, config)))),
    )


def _choice_note(result: TrainingResult, name: str, config: RunConfig) -> str:
    """Say how the scenario's round was chosen if it has no validation AUC; empty otherwise."""
    measured = [record for record in result.rounds if name in record.validation]
    if len(measured) < 2 or any(record.score(name) is not None for record in measured):
        return ""
    others = any(record.score(other) is not None for record in result.rounds for other in record.validation)
    return choice_without_auc(config.federation.selection, others=others)


def _task_result(figures: Mapping[str, float], task: str) -> TaskResult:
    return TaskResult(
        auc=figures.get(f"auc.{task}"),
        logloss=figures[f"logloss.{task}"],
        gauc=figures.get(f"gauc.{task}"),
        gauc_coverage=figures.get(f"gauc_coverage.{task}"),
        calibration=figures.get(f"calibration.{task}"),
        logloss_calibrated=figures.get(f"logloss_calibrated.{task}"),
        calibration_calibrated=figures.get(f"calibration_calibrated.{task}"),
        positives=int(figures[f"positives.{task}"]),
        examples=int(figures[f"examples.{task}"]),
    )
