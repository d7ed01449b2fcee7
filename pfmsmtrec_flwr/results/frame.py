"""Test figures of finished runs as one long table, and what every table and picture reads from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import pandas as pd

from pfmsmtrec_flwr.results.means import Spread, complete_mean, spread
from pfmsmtrec_flwr.results.schema import Family, RunResults, ScenarioResult, TaskResult

Metric = Literal[
    "auc", "logloss", "logloss_calibrated", "gauc", "gauc_coverage", "calibration", "calibration_calibrated"
]
METRICS: tuple[Metric, ...] = get_args(Metric)
FAMILIES: tuple[Family, ...] = ("floor", "alone", "pooled", "federated")
Model = Literal["personalised", "global", "consensus", "true probabilities"]
MEGABYTE = 1e6
"""Bytes in a megabyte."""
MEAN = ""
"""Scenario of the means over scenarios."""

_LINE = ["variant", "model", "seed"]
_FIGURE = ["metric", "task", "scenario"]

_Row = tuple[str, Model, int, str, str, str, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: a variant, and which of its models is measured.

    Attributes
    ----------
    variant
        Name of the variant: a method under settings of its own.
    model
        The scenarios' own models, the one that all have, or the consensus of the former.
    family
        Kind of method.
    """

    variant: str
    model: Model
    family: Family

    @property
    def label(self) -> str:
        """The variant's name; that of a consensus says so."""
        return f"{self.variant} (consensus)" if self.model == "consensus" else self.variant


BEST = Line("best attainable", "true probabilities", "floor")
"""Line of the true probabilities, which are known for made-up data: no model does better but by chance."""


class Figures:
    """Test figures of finished runs.

    Parameters
    ----------
    runs
        Results by variant, at most one for each seed.

    Attributes
    ----------
    lines
        All lines in the order of the variants, without `BEST`. A variant has a second line for its consensus if every
        run measured it in every scenario.
    has_best
        Whether the figures of the true probabilities are known.
    untested
        Scenarios that should have taken part, and of which no run has test figures.
    frame
        Long table with the columns variant, model, seed, metric, task, scenario and value (NaN: missing). Costs of a
        run have neither task nor scenario, sizes of a split no task.
    """

    def __init__(self, runs: Mapping[str, Sequence[RunResults]]) -> None:
        self.lines = tuple(line for variant, own in runs.items() for line in _lines(variant, own))
        rows = [row for line in self.lines for results in runs[line.variant] for row in _rows(line, results)]
        best = _best_rows(runs)
        self.has_best = bool(best)
        self.untested = _untested(runs)
        self.frame = pd.DataFrame(rows + best, columns=[*_LINE, *_FIGURE, "value"])
        self._wide = self.frame.pivot(index=_LINE, columns=_FIGURE, values="value")
        self._counted: dict[tuple[str, str], tuple[str, ...]] = {}
        self._add_means()
        by_line = self._wide.groupby(level=["variant", "model"])
        self._by_line = {key: own.droplevel(["variant", "model"]) for key, own in by_line}

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in the order in which scenarios name them."""
        return tuple(task for task in self.frame["task"].unique() if task)

    @cached_property
    def scenarios(self) -> tuple[str, ...]:
        """All scenarios by name, numbers in a name by their size."""
        return tuple(sorted((name for name in self.frame["scenario"].unique() if name != MEAN), key=_natural))

    @property
    def mean_label(self) -> str:
        """Label of means over scenarios; it says so if there should have been more."""
        there = len(self.scenarios)
        return f"mean of {there} of {there + len(self.untested)}" if self.untested else "mean"

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds in ascending order."""
        return tuple(sorted(int(seed) for seed in self.frame["seed"].unique()))

    @property
    def measured(self) -> tuple[Metric, ...]:
        """All figures; those of calibrated predictions only if some run has them."""
        known = set(self.frame.loc[self.frame["value"].notna(), "metric"])
        return tuple(metric for metric in METRICS if metric in known or not metric.endswith("_calibrated"))

    @property
    def models(self) -> tuple[Line, ...]:
        """The lines of the models that scenarios predict with: one for each variant."""
        return tuple(line for line in self.lines if line.model != "consensus")

    def having(self, task: str) -> tuple[str, ...]:
        """Return the scenarios that have a task."""
        return tuple(name for name in self.scenarios if ("examples", task, name) in self._wide)

    def counted(self, metric: Metric, task: str) -> tuple[str, ...]:
        """Return the scenarios that count in the mean of a figure over scenarios."""
        return self._counted[metric, task]

    def values(self, line: Line, metric: str, task: str = "", scenario: str = MEAN) -> pd.Series[float]:
        """Return a figure by seed; NaN where it is missing.

        Parameters
        ----------
        line
            The line.
        metric
            One of `METRICS`, or a cost of a run: rounds, seconds, train_seconds, aggregate_seconds, up_megabytes,
            down_megabytes, megabytes.
        task, scenario
            Place of the measurement; by default the mean over scenarios, or the whole run.
        """
        own = self._by_line[line.variant, line.model]
        key = (metric, task, scenario)
        return own[key] if key in own else pd.Series(math.nan, own.index)

    def spread(self, line: Line, metric: str, task: str = "", scenario: str = MEAN) -> Spread | None:
        """Return the mean over seeds of what `values` returns; None if a seed lacks it."""
        return spread(self.values(line, metric, task, scenario))

    def best(self, metric: str, task: str, scenario: str = MEAN) -> Spread | None:
        """Return the figure of the true probabilities; None if they are not known."""
        return self.spread(BEST, metric, task, scenario) if self.has_best else None

    def fact(self, name: str, task: str, scenario: str) -> float | None:
        """Return a figure that all runs have in common, such as the number of positives; None if no run has it."""
        key = (name, task, scenario)
        known = self._wide[key].dropna() if key in self._wide else pd.Series(dtype=float)
        return float(known.iloc[0]) if len(known) else None

    def ranked(self, task: str) -> list[tuple[Line, Spread]]:
        """Return the lines that have a mean AUC over scenarios, best first; equals keep their order."""
        means = [(line, self.spread(line, "auc", task)) for line in self.lines]
        return sorted(((line, own) for line, own in means if own is not None), key=lambda pair: -pair[1].mean)

    @property
    def one_class(self) -> tuple[tuple[str, str], ...]:
        """Scenario and task whose test rows are all of one class: no AUC is defined there."""
        return tuple(
            (scenario, task)
            for task in self.tasks
            for scenario in self.having(task)
            if self.fact("positives", task, scenario) in (0, self.fact("examples", task, scenario))
        )

    def _add_means(self) -> None:
        """Add the means over scenarios, by the rule of `pfmsmtrec_flwr.results.means`."""
        means = {}
        for metric in METRICS:
            for task in self.tasks:
                own = self._wide[metric][task]
                judged = own.drop(index=BEST.variant, level="variant", errors="ignore")
                measured = metric == "logloss" or (metric == "logloss_calibrated" and judged.notna().any(axis=None))
                kept = judged if measured else judged.dropna(axis="columns", how="all")
                self._counted[metric, task] = tuple(name for name in self.scenarios if name in kept)
                means[metric, task, MEAN] = [complete_mean(row) for row in own[list(kept.columns)].to_numpy()]
        added = pd.DataFrame(means, index=self._wide.index)
        self._wide = pd.concat([self._wide, added], axis="columns").sort_index(axis="columns")


def _lines(variant: str, runs: Sequence[RunResults]) -> Iterator[Line]:
    yield Line(variant, runs[0].parameters, runs[0].family)
    if all(scenario.consensus for results in runs for scenario in results.scenarios.values()):
        yield Line(variant, "consensus", runs[0].family)


def _rows(line: Line, results: RunResults) -> Iterator[_Row]:
    key = (line.variant, line.model, results.seed)
    for metric, value in _costs(results).items():
        yield *key, metric, "", "", value
    for scenario, own in results.scenarios.items():
        for split, size in own.examples:
            yield *key, split, "", scenario, size
        for task, figures in _tasks(line, own).items():
            for metric, value in figures:
                yield *key, metric, task, scenario, math.nan if value is None else value


def _tasks(line: Line, scenario: ScenarioResult) -> Mapping[str, TaskResult]:
    return scenario.consensus if line.model == "consensus" else scenario.tasks


def _costs(results: RunResults) -> dict[str, float]:
    up, down = results.traffic.up_bytes, results.traffic.down_bytes
    return {
        "rounds": results.rounds,
        "seconds": results.seconds.total,
        "train_seconds": results.seconds.train,
        "aggregate_seconds": results.seconds.aggregate,
        "up_megabytes": up / MEGABYTE,
        "down_megabytes": down / MEGABYTE,
        "megabytes": (up + down) / MEGABYTE,
    }


def _best_rows(runs: Mapping[str, Sequence[RunResults]]) -> list[_Row]:
    """Return the figures of the true probabilities from the first run that has them: all runs have the same rows."""
    found: dict[tuple[str, str, str], float] = {}
    results = [each for own in runs.values() for each in own]
    for each in results:
        for scenario, tasks in (each.best_attainable or {}).items():
            for task, figures in tasks.items():
                for metric, value in figures or ():
                    if value is not None:
                        found.setdefault((metric, task, scenario), value)
    return [(BEST.variant, BEST.model, results[0].seed, *key, value) for key, value in found.items()]


def _untested(runs: Mapping[str, Sequence[RunResults]]) -> tuple[str, ...]:
    results = [each for own in runs.values() for each in own]
    tested = {name for each in results for name in each.scenarios}
    return tuple(sorted({name for each in results for name in each.untested} - tested))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that puts ``tab2`` before ``tab10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
