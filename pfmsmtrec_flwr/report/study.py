"""Finished runs side by side, with what they logged: everything that a report is drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from pfmsmtrec_flwr.results.bootstrap import Bootstrap
from pfmsmtrec_flwr.results.frame import Figures, Line
from pfmsmtrec_flwr.results.intervals import interval_text
from pfmsmtrec_flwr.results.means import Spread
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
class ChangedSetting:
    """Value of a setting, and its default, as YAML has them."""

    value: str
    default: str


@dataclass(frozen=True, slots=True)
class LoggedVariant:
    """A method under settings of its own, with its runs in the order of their seeds.

    Attributes
    ----------
    name
        Name of the variant.
    runs
        Finished runs.
    settings
        Settings that differ from their defaults, by key, as the first run had them.
    """

    name: str
    runs: tuple[LoggedRun, ...]
    settings: Mapping[str, ChangedSetting] = field(default_factory=dict)

    @property
    def family(self) -> Family:
        """Kind of method."""
        return self.runs[0].results.family


@dataclass(frozen=True, slots=True)
class Headline:
    """What a report says first of a task.

    Attributes
    ----------
    task
        Name of the task.
    line
        Model that the figure is of.
    auc
        Mean test AUC over scenarios.
    margin
        Difference to another method with its interval, in words.
    above
        Method with a higher figure, in words; empty if there is none.
    """

    task: str
    line: Line
    auc: Spread
    margin: str
    above: str


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
    own
        Method of a single run, of which the other variants are references; empty for a comparison.
    """

    dataset: str
    variants: tuple[LoggedVariant, ...]
    finished: date
    unfinished: tuple[str, ...] = ()
    summary: Summary | None = None
    own: str = ""

    @property
    def bootstrap(self) -> Bootstrap | None:
        """Intervals of the differences between variants; None where they are not known."""
        return None if self.summary is None else self.summary.bootstrap

    def headline(self, task: str) -> Headline | None:
        """Return the personal model's mean AUC of a task over scenarios, with its margin; None if no AUC is defined.

        The model is that of a run's own method. In a comparison it is that of the reference if scenarios have models
        of their own there and share something; otherwise the best such model, or the best of all. The margin is over
        the comparison's reference, or over the best of the others where the model is that of the reference itself.
        """
        ranked = [pair for pair in self.figures.ranked(task) if pair[0].model != "consensus"]
        if not ranked:
            return None
        personal = [pair for pair in ranked if pair[0].model == "personalised" and pair[0].family == "federated"]
        main = self.own or ("" if self.summary is None else self.summary.reference)
        own = [pair for pair in (ranked if self.own else personal) if pair[0].variant == main]
        line, auc = (own or personal or ranked)[0]
        others = [other.variant for other, _ in ranked if other != line]
        against = main if main in others else next(iter(others), "")
        best, highest = ranked[0]
        above = "" if best == line else f"highest: {best.variant} {highest.mean:.4f} ({best.model})"
        return Headline(task, line, auc, self._margin(line.variant, against, task), above)

    def _margin(self, variant: str, other: str, task: str) -> str:
        """Return in words how far a variant is ahead of another one, with the interval of the difference."""
        for ahead, found in self._differences(variant, other, task):
            return f"{ahead} {'above' if found > 0 else 'against'} {other}"
        return "no interval"

    def _differences(self, variant: str, other: str, task: str) -> Iterator[tuple[str, float]]:
        """Yield the difference of a variant to another one as text and number, from either side, if it is known."""
        if self.bootstrap is not None:
            if (found := self.bootstrap.difference(variant, other, task)) is not None:
                yield interval_text(found), found.difference
            if (turned := self.bootstrap.difference(other, variant, task)) is not None:
                yield interval_text(turned.reversed), -turned.difference
        for run in self.results:
            for each in run.differences if run.method == variant else ():
                if (each.reference, each.task) == (other, task):
                    low, high = -each.interval.high, -each.interval.low
                    yield f"{-each.difference:+.4f} [{low:+.4f}, {high:+.4f}]", -each.difference

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
