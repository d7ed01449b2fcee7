"""Put finished runs together: means over scenarios and seeds, and how methods stand to each other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pfmsmtrec_flwr.comparison.statistics import holm, outcome, paired_t, wilcoxon
from pfmsmtrec_flwr.comparison.summary import (
    Against,
    Cost,
    Counted,
    Described,
    Joined,
    Line,
    Measured,
    Spread,
    Summary,
    TaskSummary,
    Which,
    Worst,
)
from pfmsmtrec_flwr.comparison.variants import Variant
from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.results.schema import RunResults, mean

ALONE = "alone"
"""The method that improvements are measured from."""
CHANCE = 0.5
"""AUC of a model that knows nothing."""

Metric = Literal["auc", "logloss", "gauc", "gauc_coverage", "calibration"]
METRICS: tuple[Metric, ...] = ("auc", "logloss", "gauc", "gauc_coverage", "calibration")


@dataclass(frozen=True, slots=True)
class Finished:
    """A variant with all its runs that have finished.

    Attributes
    ----------
    variant
        Method and settings.
    runs
        Results by seed.
    settings
        What it has of its own, tuned or not.
    trials
        Settings that were tried for its method.
    validation
        The best trial's mean validation AUC.
    folders
        Of the runs by seed, from the comparison's on, with slashes.
    """

    variant: Variant
    runs: Mapping[int, RunResults]
    settings: Settings = field(default_factory=dict)
    trials: int = 0
    validation: float | None = None
    folders: Mapping[int, str] = field(default_factory=dict)


def summarize(
    finished: Sequence[Finished],
    reference: str,
    *,
    joined: Sequence[Joined] = (),
    notes: Sequence[str] = (),
) -> Summary:
    """Put finished runs together.

    Parameters
    ----------
    finished
        Variants in the order of the tables, each with a run at least.
    reference
        Name of the variant that the others are tested against; nothing is tested where it is not among them.
    joined
        Figures of scenarios that joined later.
    notes
        To be told with what is found here.
    """
    entries = [_Entry(each, which) for each in finished for which in _whichs(each)]
    grid = _Grid(entries)
    lines = _tested([_line(entry, grid) for entry in entries], entries, grid, reference)
    seeds = sorted({seed for each in finished for seed in each.runs})
    return Summary(
        dataset=next(iter(finished[0].runs.values())).dataset,
        reference=reference,
        seeds=seeds,
        scenarios=grid.scenarios,
        tasks=grid.tasks,
        variants=[_described(each) for each in finished],
        lines=lines,
        runs=[_counted(each, seed) for each in finished for seed in sorted(each.folders)],
        figures=[figures for entry in entries for figures in _measured(entry)],
        costs=[_cost(each, seed) for each in finished for seed in sorted(each.runs)],
        joined=list(joined),
        notes=[*_notes(finished, grid, seeds, reference), *notes],
    )


def spread(figures: Iterable[float | None]) -> Spread | None:
    """Return mean and sample standard deviation over seeds; None where a seed lacks the figure.

    >>> spread([1.0, 3.0])
    Spread(mean=2.0, sd=1.4142135623730951, count=2)
    """
    known = list(figures)
    defined = [figure for figure in known if figure is not None]
    if not defined or len(defined) < len(known):
        return None  # a mean over fewer would look better or worse than it is
    deviation = statistics.stdev(defined) if len(defined) > 1 else None
    return Spread(mean=math.fsum(defined) / len(defined), sd=deviation, count=len(defined))


def relative_improvement(auc: float | None, base: float | None) -> float | None:
    """Return the relative improvement of an AUC over another; None where the other is not above chance.

    >>> round(relative_improvement(0.62, 0.60), 6)
    0.2
    """
    if auc is None or base is None or base <= CHANCE:
        return None
    return (auc - CHANCE) / (base - CHANCE) - 1


@dataclass(frozen=True, slots=True)
class _Entry:
    """A variant and which of its models is looked at."""

    finished: Finished
    which: Which

    @property
    def name(self) -> str:
        return self.finished.variant.name

    @property
    def seeds(self) -> list[int]:
        return sorted(self.finished.runs)

    def figure(self, seed: int, scenario: str, task: str, metric: Metric) -> float | None:
        found = self.finished.runs[seed].scenarios.get(scenario)
        if found is None:
            return None
        figures = (found.tasks if self.which == "model" else found.consensus).get(task)
        value: float | None = None if figures is None else getattr(figures, metric)
        return value


class _Grid:
    """The scenarios and tasks of all entries, and in which of them a figure is defined."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self._entries = entries
        results = [run for entry in entries for run in entry.finished.runs.values()]
        self.scenarios = sorted({name for run in results for name in run.scenarios})
        self.tasks = list(dict.fromkeys(task for run in results for task in run.tasks))
        self._having = {
            task: [
                name
                for name in self.scenarios
                if any(name in run.scenarios and task in run.scenarios[name].tasks for run in results)
            ]
            for task in self.tasks
        }
        self._counted: dict[tuple[str, Metric], list[str]] = {}

    def having(self, task: str) -> list[str]:
        """The scenarios that have the task."""
        return self._having[task]

    def counted(self, task: str, metric: Metric) -> list[str]:
        """The scenarios in which any entry has the figure: means are over these, for every entry."""
        key = (task, metric)
        if key not in self._counted:
            self._counted[key] = [name for name in self.having(task) if self._defined(name, task, metric)]
        return self._counted[key]

    def macro(self, entry: _Entry, seed: int, task: str, metric: Metric) -> float | None:
        """The mean over scenarios; None where the entry lacks a figure that another has."""
        figures = [entry.figure(seed, name, task, metric) for name in self.counted(task, metric)]
        return None if None in figures else mean(figures)

    def _defined(self, scenario: str, task: str, metric: Metric) -> bool:
        return any(
            entry.figure(seed, scenario, task, metric) is not None for entry in self._entries for seed in entry.seeds
        )


def _whichs(finished: Finished) -> tuple[Which, ...]:
    scenarios = [scenario for run in finished.runs.values() for scenario in run.scenarios.values()]
    return ("model", "consensus") if all(scenario.consensus for scenario in scenarios) else ("model",)


def _described(finished: Finished) -> Described:
    first = next(iter(finished.runs.values()))
    variant = finished.variant
    return Described(
        name=variant.name,
        method=variant.method,
        family=first.family,
        parameters=first.parameters,
        what=variant.what,
        settings=finished.settings,
        trials=finished.trials,
        validation=finished.validation,
    )


def _counted(finished: Finished, seed: int) -> Counted:
    return Counted(variant=finished.variant.name, seed=seed, folder=finished.folders[seed])


def _measured(entry: _Entry) -> list[Measured]:
    return [
        Measured(
            variant=entry.name,
            which=entry.which,
            scenario=scenario,
            task=task,
            seed=seed,
            **{metric: entry.figure(seed, scenario, task, metric) for metric in METRICS},
        )
        for seed in entry.seeds
        for scenario, found in entry.finished.runs[seed].scenarios.items()
        for task in found.tasks
    ]


def _cost(finished: Finished, seed: int) -> Cost:
    run = finished.runs[seed]
    return Cost(
        variant=finished.variant.name,
        seed=seed,
        rounds=run.rounds,
        up_bytes=run.traffic.up_bytes,
        down_bytes=run.traffic.down_bytes,
        seconds=run.seconds.total,
    )


def _line(entry: _Entry, grid: _Grid) -> Line:
    runs = [entry.finished.runs[seed] for seed in entry.seeds]
    return Line(
        variant=entry.name,
        which=entry.which,
        tasks={task: _task_summary(entry, grid, task) for task in grid.tasks},
        scenarios={
            name: {
                task: spread(entry.figure(seed, name, task, "auc") for seed in entry.seeds)
                for task in grid.tasks
                if name in grid.having(task)
            }
            for name in grid.scenarios
        },
        megabytes=_known(spread((run.traffic.up_bytes + run.traffic.down_bytes) / 1e6 for run in runs)),
        seconds=_known(spread(run.seconds.total for run in runs)),
    )


def _known(found: Spread | None) -> Spread:
    if found is None:
        raise TypeError("a variant without a run")
    return found


def _task_summary(entry: _Entry, grid: _Grid, task: str) -> TaskSummary:
    def over_seeds(metric: Metric) -> Spread | None:
        return spread(grid.macro(entry, seed, task, metric) for seed in entry.seeds)

    return TaskSummary(
        auc=over_seeds("auc"),
        logloss=over_seeds("logloss"),
        gauc=over_seeds("gauc"),
        gauc_coverage=over_seeds("gauc_coverage"),
        calibration=over_seeds("calibration"),
        worst=_worst(entry, grid, task),
        improvement=None,
    )


def _worst(entry: _Entry, grid: _Grid, task: str) -> Worst | None:
    means = {
        name: spread(entry.figure(seed, name, task, "auc") for seed in entry.seeds)
        for name in grid.counted(task, "auc")
    }
    known = {name: found.mean for name, found in means.items() if found is not None}
    if not known or len(known) < len(means):
        return None
    lowest = min(known, key=lambda name: known[name])
    return Worst(scenario=lowest, auc=known[lowest])


def _tested(lines: Sequence[Line], entries: Sequence[_Entry], grid: _Grid, reference: str) -> list[Line]:
    """Return the lines with what they are by comparison: with training alone, and with the reference."""
    base = next((line for line in lines if line.variant == ALONE), None)
    models = {entry.name: entry for entry in entries if entry.which == "model"}
    standing = {task: _standing(models, grid, task, reference) for task in grid.tasks}
    return [
        line.model_copy(
            update={
                "tasks": {
                    task: own.model_copy(
                        update={
                            "improvement": None if base is None else _improvement(own, base.tasks[task]),
                            "against": standing[task].get(line.variant) if line.which == "model" else None,
                        }
                    )
                    for task, own in line.tasks.items()
                }
            }
        )
        for line in lines
    ]


def _improvement(own: TaskSummary, base: TaskSummary) -> float | None:
    if own.auc is None or base.auc is None:
        return None
    return relative_improvement(own.auc.mean, base.auc.mean)


def _standing(models: Mapping[str, _Entry], grid: _Grid, task: str, reference: str) -> dict[str, Against]:
    """Return how every other variant stands to the reference in a task, p-values corrected for their number."""
    if reference not in models:
        return {}
    against = {
        name: _against(entry, models[reference], grid, task) for name, entry in models.items() if name != reference
    }
    t_tests = holm([each.t_test for each in against.values()])
    ranks = holm([each.wilcoxon for each in against.values()])
    return {
        name: each.model_copy(update={"t_test_holm": t_test, "wilcoxon_holm": rank})
        for (name, each), t_test, rank in zip(against.items(), t_tests, ranks, strict=True)
    }


def _against(entry: _Entry, reference: _Entry, grid: _Grid, task: str) -> Against:
    seeds = [seed for seed in entry.seeds if seed in reference.seeds]
    scenarios = grid.counted(task, "auc")
    by_scenario = {
        name: _differences(
            [(entry.figure(seed, name, task, "auc"), reference.figure(seed, name, task, "auc")) for seed in seeds]
        )
        for name in scenarios
    }
    macro = _differences(
        [(grid.macro(entry, seed, task, "auc"), grid.macro(reference, seed, task, "auc")) for seed in seeds]
    )
    outcomes = [outcome(differences) for differences in by_scenario.values() if differences is not None]
    complete = [differences for differences in by_scenario.values() if differences is not None]
    pairs = [difference for differences in complete for difference in differences]
    return Against(
        win=outcomes.count("win"),
        tie=outcomes.count("tie"),
        loss=outcomes.count("loss"),
        seeds=len(seeds),
        difference=mean(macro) if macro else None,
        t_test=paired_t(macro) if macro else None,
        t_test_holm=None,
        wilcoxon=wilcoxon(pairs) if len(complete) == len(scenarios) else None,
        wilcoxon_holm=None,
    )


def _differences(pairs: Sequence[tuple[float | None, float | None]]) -> list[float] | None:
    """Return the differences; None where a figure is missing."""
    differences = [one - other for one, other in pairs if one is not None and other is not None]
    return differences if len(differences) == len(pairs) else None


def _notes(finished: Sequence[Finished], grid: _Grid, seeds: Sequence[int], reference: str) -> list[str]:
    notes = [
        f"{scenario}, {task}: one class in the test rows, so no AUC; left out of every mean"
        for task in grid.tasks
        for scenario in grid.having(task)
        if scenario not in grid.counted(task, "auc")
    ]
    notes += [
        f"{each.variant.name}: no run with seed {', '.join(missing)}; its means are over the others"
        for each in finished
        if (missing := [str(seed) for seed in seeds if seed not in each.runs])
    ]
    if len(seeds) < 2 and len(finished) > 1:
        notes.append(f"one seed: no test, and wins and losses against {reference} are by the sign of the difference")
    told = (
        f"{name}: {own.note}"
        for each in finished
        for run in each.runs.values()
        for name, own in run.scenarios.items()
        if own.note
    )
    return [*notes, *dict.fromkeys(told)]
