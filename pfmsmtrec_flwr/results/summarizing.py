"""Summary of finished runs: means over scenarios and seeds, and tests between methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from pfmsmtrec_flwr.results.frame import BEST, MEAN, METRICS, Figures, Line
from pfmsmtrec_flwr.results.means import Spread, complete_mean
from pfmsmtrec_flwr.results.schema import RunResults, notes_of
from pfmsmtrec_flwr.results.summary import (
    Against,
    Cost,
    Counted,
    Described,
    Joined,
    LineSummary,
    Measured,
    Summary,
    TaskSummary,
    Which,
    Worst,
)
from pfmsmtrec_flwr.results.testing import holm, outcome, paired_t, wilcoxon

ALONE = "alone"
"""Method from which improvements are measured."""
CHANCE = 0.5
"""AUC of a model that knows nothing."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A variant with all its runs that have finished.

    Attributes
    ----------
    variant
        Description of the variant.
    runs
        Results by seed.
    folders
        Folders of the runs by seed, relative to the comparison's, with slashes.
    """

    variant: Described
    runs: Mapping[int, RunResults]
    folders: Mapping[int, str]


def figures_of(finished: Sequence[Finished]) -> Figures:
    """Return the test figures of finished runs."""
    return Figures({each.variant.name: [each.runs[seed] for seed in sorted(each.runs)] for each in finished})


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
        Variants in the order of the tables, each with at least one run.
    reference
        Name of the variant that the others are tested against; nothing is tested if it is not among them.
    joined
        Figures of scenarios that joined later.
    notes
        Remarks to add to those that are found here.
    """
    figures = figures_of(finished)
    return Summary(
        dataset=next(iter(finished[0].runs.values())).dataset,
        reference=reference,
        seeds=list(figures.seeds),
        scenarios=list(figures.scenarios),
        tasks=list(figures.tasks),
        variants=[each.variant for each in finished],
        lines=_line_summaries(figures, reference),
        runs=[
            Counted(variant=each.variant.name, seed=seed, folder=each.folders[seed])
            for each in finished
            for seed in sorted(each.folders)
        ],
        figures=list(_measured(figures)),
        costs=[_cost(each.variant.name, each.runs[seed]) for each in finished for seed in sorted(each.runs)],
        joined=list(joined),
        notes=[*_notes(finished, figures, reference), *notes],
    )


def relative_improvement(auc: float | None, base: float | None) -> float | None:
    """Return the relative improvement of an AUC over another; None where the other is not above chance.

    >>> round(relative_improvement(0.62, 0.60), 6)
    0.2
    """
    if auc is None or base is None or base <= CHANCE:
        return None
    return (auc - CHANCE) / (base - CHANCE) - 1


def _which(model: str) -> Which:
    return "consensus" if model == "consensus" else "model"


def _cost(variant: str, run: RunResults) -> Cost:
    sent = run.traffic.model_dump()
    return Cost(variant=variant, seed=run.seed, rounds=run.rounds, seconds=run.seconds.total, **sent)


def _measured(figures: Figures) -> Iterator[Measured]:
    frame = figures.frame
    known = frame[frame["metric"].isin(METRICS) & (frame["variant"] != BEST.variant)]
    keys = ["variant", "model", "scenario", "task", "seed"]
    for key, own in known.groupby(keys, sort=False):
        variant, model, scenario, task, seed = cast("tuple[str, str, str, str, int]", key)
        values = dict(zip(own["metric"], own["value"], strict=True))
        yield Measured(variant=variant, which=_which(model), scenario=scenario, task=task, seed=int(seed), **values)


def _line_summaries(figures: Figures, reference: str) -> list[LineSummary]:
    base = next((line for line in figures.lines if line.variant == ALONE), None)
    standing = _standing(figures, reference)
    return [
        LineSummary(
            variant=line.variant,
            which=_which(line.model),
            tasks={
                task: _task_summary(figures, line, task, base, standing.get((task, line))) for task in figures.tasks
            },
            scenarios={
                name: {
                    task: figures.spread(line, "auc", task, name)
                    for task in figures.tasks
                    if name in figures.having(task)
                }
                for name in figures.scenarios
            },
            megabytes=_known(figures.spread(line, "megabytes")),
            seconds=_known(figures.spread(line, "seconds")),
        )
        for line in figures.lines
    ]


def _known(found: Spread | None) -> Spread:
    if found is None:
        raise TypeError("a variant without a run")
    return found


def _task_summary(figures: Figures, line: Line, task: str, base: Line | None, against: Against | None) -> TaskSummary:
    means = {metric: figures.spread(line, metric, task) for metric in METRICS}
    alone = None if base is None else figures.spread(base, "auc", task)
    return TaskSummary(
        **means,
        worst=_worst(figures, line, task),
        improvement=relative_improvement(_mean_of(means["auc"]), _mean_of(alone)),
        against=against,
    )


def _mean_of(found: Spread | None) -> float | None:
    return None if found is None else found.mean


def _worst(figures: Figures, line: Line, task: str) -> Worst | None:
    means = {name: figures.spread(line, "auc", task, name) for name in figures.counted("auc", task)}
    known = [Worst(scenario=name, auc=found.mean) for name, found in means.items() if found is not None]
    return min(known, key=lambda each: each.auc) if known and len(known) == len(means) else None


def _standing(figures: Figures, reference: str) -> dict[tuple[str, Line], Against]:
    """Compare every other model with the reference in each task; p-values are corrected for the number of all."""
    ours = next((line for line in figures.models if line.variant == reference), None)
    if ours is None:
        return {}
    others = [line for line in figures.models if line is not ours]
    against = {(task, line): _against(figures, line, ours, task) for task in figures.tasks for line in others}
    t_tests = holm([each.t_test for each in against.values()])
    ranks = holm([each.wilcoxon for each in against.values()])
    return {
        key: each.model_copy(update={"t_test_holm": t_test, "wilcoxon_holm": rank})
        for (key, each), t_test, rank in zip(against.items(), t_tests, ranks, strict=True)
    }


def _against(figures: Figures, line: Line, reference: Line, task: str) -> Against:
    def differences(scenario: str = MEAN) -> list[float]:
        """Return the differences in AUC by common seed; NaN where a figure is missing."""
        own, others = (figures.values(each, "auc", task, scenario) for each in (line, reference))
        return (own - others).loc[own.index.intersection(others.index)].tolist()

    means = differences()
    by_scenario = [differences(name) for name in figures.counted("auc", task)]
    complete = [own for own in by_scenario if not np.isnan(own).any()]
    outcomes = [outcome(own) for own in complete]
    return Against(
        win=outcomes.count("win"),
        tie=outcomes.count("tie"),
        loss=outcomes.count("loss"),
        seeds=len(means),
        difference=complete_mean(means),
        t_test=None if np.isnan(means).any() else paired_t(means),
        t_test_holm=None,
        wilcoxon=wilcoxon([each for own in complete for each in own]) if len(complete) == len(by_scenario) else None,
        wilcoxon_holm=None,
    )


def _notes(finished: Sequence[Finished], figures: Figures, reference: str) -> list[str]:
    notes = [
        f"{scenario}, {task}: one class in the test rows, so no AUC; left out of every mean"
        for task in figures.tasks
        for scenario in figures.having(task)
        if scenario not in figures.counted("auc", task)
    ]
    notes += [
        f"{each.variant.name}: no run with seed {', '.join(missing)}; its means are over the others"
        for each in finished
        if (missing := [str(seed) for seed in figures.seeds if seed not in each.runs])
    ]
    if len(figures.seeds) < 2 and len(finished) > 1:
        notes.append(f"one seed: no test, and wins and losses against {reference} are by the sign of the difference")
    return [*notes, *notes_of(run for each in finished for run in each.runs.values())]
