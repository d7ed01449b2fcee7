"""Finished runs side by side, and the means of them that a report shows."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

from pfmsmtrec_flwr.results.schema import Family, RunResults, TaskResult, mean
from pfmsmtrec_flwr.results.writer import RoundMetrics

FAMILIES: tuple[Family, ...] = ("floor", "alone", "pooled", "federated")
Metric = Literal["auc", "logloss", "gauc", "calibration"]
Model = Literal["personalised", "global", "consensus"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean of a figure over seeds, its sample standard deviation (None with one seed), and the number of seeds."""

    mean: float
    sd: float | None
    count: int


def spread(figures: Iterable[float | None]) -> Spread | None:
    """Return mean and standard deviation over seeds; None where a seed lacks the figure, as the mean would mislead.

    >>> spread([1.0, 3.0])
    Spread(mean=2.0, sd=1.4142135623730951, count=2)
    """
    known = list(figures)
    defined = [figure for figure in known if figure is not None]
    if not defined or len(defined) < len(known):
        return None
    sd = statistics.stdev(defined) if len(defined) > 1 else None
    return Spread(math.fsum(defined) / len(defined), sd, len(defined))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that puts ``tab2`` before ``tab10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True, slots=True)
class Run:
    """One method, with one seed.

    Attributes
    ----------
    results
        Its test figures.
    rounds
        What it logged, in order; empty where there is no log.
    shares
        α, β or what else the method learns to mix by; per round, by scenario and name.
    """

    results: RunResults
    rounds: tuple[RoundMetrics, ...] = ()
    shares: tuple[dict[str, dict[str, float]], ...] = ()

    def validation(self, scenario: str, task: str) -> dict[int, float]:
        """Return the validation AUC by round, where it is defined."""
        series = {}
        for entry in self.rounds:
            reported = entry.scenarios.get(scenario)
            figures = reported.validation.get(task) if reported else None
            if figures is not None and figures.auc is not None:
                series[entry.round] = figures.auc
        return series

    def share(self, scenario: str, name: str) -> dict[int, float]:
        """Return a learned share by round."""
        told = zip(self.rounds, self.shares, strict=True)
        return {entry.round: own[scenario][name] for entry, own in told if name in own.get(scenario, {})}

    def gates(self, scenario: str, task: str) -> dict[int, list[float]]:
        """Return the share of each expert by round."""
        told = {entry.round: (entry.gates or {}).get(scenario, {}).get(task) for entry in self.rounds}
        return {number: shares for number, shares in told.items() if shares}

    @property
    def conflicts(self) -> list[RoundMetrics]:
        """The rounds that tell of a conflict."""
        return [entry for entry in self.rounds if entry.conflict is not None and entry.conflict.mean]


@dataclass(frozen=True, slots=True)
class Variant:
    """A method under settings of its own, with all its seeds, in their order."""

    name: str
    runs: tuple[Run, ...]

    @property
    def family(self) -> Family:
        """What kind of method it is."""
        return self.runs[0].results.family

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that are measured: that of each scenario, or the common one; and a consensus of the former."""
        results = [run.results for run in self.runs]
        measured = all(scenario.consensus for result in results for scenario in result.scenarios.values())
        return (results[0].parameters, "consensus") if measured else (results[0].parameters,)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table: a variant, and which of its models is measured."""

    variant: Variant
    model: Model

    @property
    def label(self) -> str:
        """The variant's name; a consensus is told from the personalised models."""
        return f"{self.variant.name}, consensus" if self.model == "consensus" else self.variant.name

    def figure(self, scenario: str, task: str, metric: Metric) -> Spread | None:
        """Return a test figure over the seeds; None where it is not defined."""
        return spread(self._figure(run, scenario, task, metric) for run in self.variant.runs)

    def macro(self, scenarios: Sequence[str], task: str, metric: Metric) -> Spread | None:
        """Return the mean over these scenarios, over the seeds; None where one of them lacks the figure."""
        by_seed = [[self._figure(run, scenario, task, metric) for scenario in scenarios] for run in self.variant.runs]
        return spread(None if None in own else mean(own) for own in by_seed)

    def tasks(self, run: Run, scenario: str) -> dict[str, TaskResult]:
        """Return the figures of this line's model by task; empty where the scenario took no part."""
        found = run.results.scenarios.get(scenario)
        if found is None:
            return {}
        return found.consensus if self.model == "consensus" else found.tasks

    def _figure(self, run: Run, scenario: str, task: str, metric: Metric) -> float | None:
        figures = self.tasks(run, scenario).get(task)
        return None if figures is None else getattr(figures, metric)


@dataclass(frozen=True)
class Study:
    """Everything that a report is drawn from.

    Attributes
    ----------
    dataset
        Of all its runs.
    variants
        By family, then name.
    finished
        The day on which the last run ended, in UTC.
    unfinished
        Runs that were begun and have no results, as variant and folder.
    """

    dataset: str
    variants: tuple[Variant, ...]
    finished: date
    unfinished: tuple[str, ...] = ()

    @cached_property
    def results(self) -> tuple[RunResults, ...]:
        """Of every run."""
        return tuple(run.results for variant in self.variants for run in variant.runs)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The lines of its tables."""
        return tuple(Entry(variant, model) for variant in self.variants for model in variant.models)

    @cached_property
    def scenarios(self) -> tuple[str, ...]:
        """All scenarios, by name, numbers in it by their size."""
        return tuple(sorted({name for results in self.results for name in results.scenarios}, key=_natural))

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in the order in which scenarios name them."""
        return tuple(dict.fromkeys(task for results in self.results for task in results.tasks))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, ascending."""
        return tuple(sorted({results.seed for results in self.results}))

    @cached_property
    def versions(self) -> dict[str, str]:
        """Versions of what computed the results; several of one package are all named."""
        found: dict[str, set[str]] = {}
        for results in self.results:
            for package, version in results.versions.items():
                found.setdefault(package, set()).add(version)
        return {package: ", ".join(sorted(known)) for package, known in found.items()}

    @property
    def same_seeds(self) -> bool:
        """Whether every variant was run with all of the seeds."""
        return all(len(variant.runs) == len(self.seeds) for variant in self.variants)

    def having(self, task: str) -> tuple[str, ...]:
        """Return the scenarios that have a task."""
        return tuple(name for name in self.scenarios if self.example(name, task) is not None)

    def defined(self, task: str, metric: Metric) -> tuple[str, ...]:
        """Return the scenarios in which some line has the figure: those that count in a mean over scenarios."""
        return tuple(
            name
            for name in self.having(task)
            if any(entry.figure(name, task, metric) is not None for entry in self.entries)
        )

    def macro(self, entry: Entry, task: str, metric: Metric) -> Spread | None:
        """Return the mean over scenarios, weighted alike; None where the line lacks one that others have."""
        return entry.macro(self.defined(task, metric), task, metric)

    def attainable(self, scenario: str, task: str, metric: Metric) -> float | None:
        """Return the figure of the true probabilities, a mean over runs; None where they are not known."""
        if metric not in ("auc", "logloss"):
            return None
        known = [((run.best_attainable or {}).get(scenario) or {}).get(task) for run in self.results]
        return mean([None if best is None else getattr(best, metric) for best in known])

    def attainable_macro(self, task: str, metric: Metric) -> float | None:
        """Return its mean over the scenarios that count; None where it is not known for all of them."""
        known = [self.attainable(scenario, task, metric) for scenario in self.defined(task, metric)]
        return None if None in known else mean(known)

    def example(self, scenario: str, task: str) -> TaskResult | None:
        """Return the first run's figures of a scenario's task, for what all runs have in common."""
        return next(self._results(scenario, task), None)

    @property
    def one_class(self) -> tuple[tuple[str, str], ...]:
        """Scenario and task of which test rows hold one class: no AUC is defined there."""
        return tuple(
            (scenario, task)
            for task in self.tasks
            for scenario in self.having(task)
            if any(own.positives in (0, own.examples) for own in self._results(scenario, task))
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the scenarios' data."""
        told = (
            f"{name}: {own.note}" for results in self.results for name, own in results.scenarios.items() if own.note
        )
        return tuple(dict.fromkeys(told))

    def _results(self, scenario: str, task: str) -> Iterator[TaskResult]:
        for results in self.results:
            if scenario in results.scenarios and task in results.scenarios[scenario].tasks:
                yield results.scenarios[scenario].tasks[task]
