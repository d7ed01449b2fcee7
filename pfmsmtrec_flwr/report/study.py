"""Finished runs side by side, with what they logged: everything that a report is drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from pfmsmtrec_flwr.results.bootstrap import Bootstrap
from pfmsmtrec_flwr.results.frame import Figures
from pfmsmtrec_flwr.results.intervals import interval_text
from pfmsmtrec_flwr.results.rounds import AttentionRound, ConflictRound, RoundMetrics
from pfmsmtrec_flwr.results.schema import Family, RunResults, notes_of
from pfmsmtrec_flwr.results.summary import Summary


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """One method, with one seed.

    Attributes
    ----------
    results
        Test figures.
    rounds
        Rounds logged, in order; empty if there is no log.
    """

    results: RunResults
    rounds: tuple[RoundMetrics, ...] = ()

    def validation(self, scenario: str, task: str) -> dict[int, float]:
        """Return the validation AUC by round, where it is defined."""
        reports = ((entry.round, entry.scenarios.get(scenario)) for entry in self.rounds)
        logged = {number: report.validation.get(task) for number, report in reports if report is not None}
        return {number: own.auc for number, own in logged.items() if own is not None and own.auc is not None}

    def share(self, scenario: str, name: str) -> dict[int, float]:
        """Return a learned share by round."""
        logged = {entry.round: (entry.alpha or {}).get(scenario, {}) for entry in self.rounds}
        return {number: shares[name] for number, shares in logged.items() if name in shares}

    def gates(self, scenario: str, task: str) -> dict[int, list[float]]:
        """Return the share of each expert by round."""
        logged = {entry.round: (entry.gates or {}).get(scenario, {}).get(task) for entry in self.rounds}
        return {number: shares for number, shares in logged.items() if shares}

    def attention(self, task: str) -> dict[int, AttentionRound]:
        """Return the attention of a task's towers by round."""
        logged = {entry.round: (entry.attention or {}).get(task) for entry in self.rounds}
        return {number: own for number, own in logged.items() if own is not None}

    @property
    def conflicts(self) -> dict[int, ConflictRound]:
        """Conflict between scenarios by round, where it was logged."""
        logged = {entry.round: entry.conflict for entry in self.rounds}
        return {number: own for number, own in logged.items() if own is not None and own.mean}


@dataclass(frozen=True, slots=True)
class LoggedVariant:
    """A method under settings of its own, with its runs in the order of their seeds."""

    name: str
    runs: tuple[LoggedRun, ...]

    @property
    def family(self) -> Family:
        """Kind of method."""
        return self.runs[0].results.family


@dataclass(frozen=True)
class Study:
    """Finished runs on one data set.

    Attributes
    ----------
    dataset
        Name of the data set.
    variants
        Variants by family, then by name.
    finished
        Day on which the last run ended, in UTC.
    unfinished
        Runs that were begun and have no results, as variant and folder.
    summary
        Summary of the comparison, with the intervals of differences; None for a single run.
    """

    dataset: str
    variants: tuple[LoggedVariant, ...]
    finished: date
    unfinished: tuple[str, ...] = ()
    summary: Summary | None = None

    @property
    def bootstrap(self) -> Bootstrap | None:
        """Intervals of the differences between variants; None where they are not known."""
        return None if self.summary is None else self.summary.bootstrap

    def margin(self, task: str) -> str:
        """Return in words how far the first variant is ahead of the second, with the interval of the difference."""
        found = self.bootstrap
        first, *others = [line for line, _ in self.figures.ranked(task)]
        second = next((line.variant for line in others if line.model != "consensus"), "")
        if found is None or first.model == "consensus":
            return "no interval"
        behind = found.difference(second, first.variant, task)
        return "no interval" if behind is None else f"{interval_text(behind.reversed)} above {behind.variant}"

    @cached_property
    def figures(self) -> Figures:
        """Test figures of all runs."""
        return Figures({variant.name: [run.results for run in variant.runs] for variant in self.variants})

    @property
    def results(self) -> Iterator[RunResults]:
        """Results of every run."""
        return (run.results for variant in self.variants for run in variant.runs)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages that computed the results; if there are several of one package, all of them."""
        found: dict[str, set[str]] = {}
        for results in self.results:
            for package, version in results.versions.items():
                found.setdefault(package, set()).add(version)
        return {package: ", ".join(sorted(known)) for package, known in found.items()}

    @property
    def same_seeds(self) -> bool:
        """Whether every variant was run with all of the seeds."""
        return all(len(variant.runs) == len(self.figures.seeds) for variant in self.variants)

    @property
    def notes(self) -> list[str]:
        """Remarks on the scenarios' data, each once."""
        return notes_of(self.results)
