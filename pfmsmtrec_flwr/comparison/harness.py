"""A comparison from start to end."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from pfmsmtrec_flwr.comparison.evidence import Source, evidence_of
from pfmsmtrec_flwr.comparison.grounds import own_ground, tuning_grounds
from pfmsmtrec_flwr.comparison.jobs import TrialRunner, train
from pfmsmtrec_flwr.comparison.planning import ComparisonPlan
from pfmsmtrec_flwr.comparison.request import Options, request_of
from pfmsmtrec_flwr.comparison.schedule import Entry, Observer, Schedule
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.scenarios import chosen_scenarios
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.results.overviews import comparison_tables
from pfmsmtrec_flwr.results.rendering import TABLES_NAME, write_tables
from pfmsmtrec_flwr.results.summarizing import figures_of, summarize
from pfmsmtrec_flwr.results.summary import Summary, write_summary
from pfmsmtrec_flwr.upgrades import refuse_old_comparison


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outcome of a comparison.

    Attributes
    ----------
    summary
        Figures of the runs that have finished.
    failures
        Jobs that have failed.
    """

    summary: Summary
    failures: Sequence[Entry]


def prepare_plan(
    config: RunConfig, options: Options, data: Path, output: Path, run: TrialRunner = train
) -> ComparisonPlan:
    """Return the plan of a comparison; made-up rows are made.

    Parameters
    ----------
    config
        Settings that all methods have in common, and settings of single methods.
    options
        Request of the user.
    data, output
        Absolute folders of the prepared data and of all files written.
    run
        Function that runs a job.

    Raises
    ------
    UserError
        The request has a mistake, the data are not prepared, or the folder holds a comparison of an older version.
    """
    refuse_old_comparison(output)
    scenarios = list(chosen_scenarios(config, data))
    request = request_of(config, options, scenarios, data, output)
    tuning = tuning_grounds(config, options.tune_on, data) if options.trials else ()
    return ComparisonPlan(request, own_ground(config, data), tuning, run)


def compare(plan: ComparisonPlan, executor: Executor, slots: int, observer: Observer | None = None) -> Comparison:
    """Run the jobs of a plan that have not finished, and write its summary and tables.

    Parameters
    ----------
    plan
        The jobs.
    executor, slots
        Executor of the jobs, and number of jobs at once.
    observer
        Called as jobs begin and end.

    Raises
    ------
    UserError
        No run has finished, or the folder cannot be written to.
    """
    output = plan.request.output
    try:
        schedule = _run(plan, executor, slots, observer)
        finished = plan.finished()
        if not finished:
            why = schedule.failures[0].problem if schedule.failures else "there was nothing to run"
            raise UserError(f"no run has finished: {why}")
        notes = [f"{_called(entry)} failed: {entry.problem}" for entry in schedule.failures]
        notes += _notes_on_code(schedule)
        summary = summarize(finished, plan.request.reference, joined=plan.joined(), notes=notes)
        evidence = evidence_of([_source(summary, plan)], plan.request.options.draws)
        if evidence is not None:
            summary = summary.model_copy(update={"bootstrap": evidence.bootstrap(summary.reference)})
        write_summary(summary, output)
        write_tables(comparison_tables(summary, figures_of(finished)), output / TABLES_NAME)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}") from None
    return Comparison(summary, schedule.failures)


def tune_methods(
    plan: ComparisonPlan, executor: Executor, slots: int, observer: Observer | None = None
) -> Sequence[Entry]:
    """Run the trials of a plan that have not finished, and return the jobs that failed.

    Parameters
    ----------
    plan
        The jobs.
    executor, slots
        Executor of the jobs, and number of jobs at once.
    observer
        Called as jobs begin and end.

    Raises
    ------
    UserError
        The folder cannot be written to.
    """
    try:
        return _run(plan, executor, slots, observer).failures
    except OSError as error:
        raise UserError(f"cannot write to {plan.request.output}: {error.strerror}") from None


def _run(plan: ComparisonPlan, executor: Executor, slots: int, observer: Observer | None) -> Schedule:
    schedule = Schedule(executor, slots, observer)
    plan.request.output.mkdir(parents=True, exist_ok=True)
    schedule.run(plan.programs())
    for note in _notes_on_code(schedule):
        logger.warning("%s", note)
    return schedule


def _notes_on_code(schedule: Schedule) -> list[str]:
    """Return a note if other code of the package has made some of the figures."""
    names = [entry.job.name for entry in schedule.by_other_code]
    if not names:
        return []
    counts = ", ".join(f"{names.count(name)} of {name}" for name in dict.fromkeys(names))
    return [f"other code than the present one made these runs and trials: {counts}; --fresh replaces them"]


def _source(summary: Summary, plan: ComparisonPlan) -> Source:
    request = plan.request
    return Source("", request.output, summary.runs, summary.scenarios, request.config.data, request.data)


def _called(entry: Entry) -> str:
    return f"{entry.job.name}, {entry.job.folder.name}"
