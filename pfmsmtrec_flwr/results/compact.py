"""The tables of a comparison or of a run that a terminal of 80 columns has room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pfmsmtrec_flwr.results.intervals import SEEDS_NOTE, difference_cells, interval_notes
from pfmsmtrec_flwr.results.overviews import drawn_text, joining_table, seeds_text
from pfmsmtrec_flwr.results.schema import DrawnDifference, RunResults, notes_of
from pfmsmtrec_flwr.results.summary import LineSummary, Summary
from pfmsmtrec_flwr.results.tables import Cell, FigureTable, Group, Row, figure_cell


def compact_tables(summary: Summary) -> Iterator[FigureTable]:
    """Return a table for each task, with a row for each variant, and one of the scenarios that joined later, if any.

    A row has the mean AUC over scenarios, its difference to the reference with a 95 % interval, and the number of
    scenarios in which the variant is better, level or worse. Notes that hold for all stand below the last task's.
    """
    for task in summary.tasks:
        rows = tuple(_row(summary, line, task) for line in summary.lines if line.which == "model")
        title = f"{task} on {summary.dataset}: test AUC, mean over scenarios ± sd over {seeds_text(summary)}"
        heads = ("method", "AUC", f"difference to\n{summary.reference}", "win/tie\n/loss")
        last = task == summary.tasks[-1]
        notes = (*summary.notes, *(note for note in interval_notes(summary) if note != SEEDS_NOTE)) if last else ()
        yield FigureTable(f"compact-{task}", title, heads, 1, (Group("", rows),), notes)
    if summary.joined:
        yield joining_table(summary)


def compact_run_tables(runs: Sequence[RunResults]) -> Iterator[FigureTable]:
    """Return a table for each task of a run, with a row for its own method and for each reference method.

    A row has the mean AUC over scenarios with its 95 % interval, and the difference to the run's own method with
    another. Notes that hold for all stand below the last task's.

    Parameters
    ----------
    runs
        Results of the run's own method, then of its reference methods.
    """
    own = runs[0]
    differences = {(each.reference, each.task): each for each in own.differences}
    notes = [*notes_of(runs), *([f"intervals: 95 %, over {own.draws} draws of test users"] if own.draws else [])]
    tasks = list(own.macro)
    for task in tasks:
        rows = tuple(_run_row(run, task, differences.get((run.method, task))) for run in runs if task in run.macro)
        title = f"{task} on {own.dataset}: test AUC, mean over scenarios, seed {own.seed}"
        heads = ("method", "AUC", "interval", f"difference to\n{own.method}")
        shown = tuple(notes) if task == tasks[-1] else ()
        yield FigureTable(f"compact-{task}", title, heads, 1, (Group("", rows),), shown)


def _run_row(run: RunResults, task: str, difference: DrawnDifference | None) -> Row:
    found = run.macro[task]
    interval = "" if found.interval is None else f"[{found.interval.low:.4f}, {found.interval.high:.4f}]"
    return (
        Cell(f"{run.method}{_over(run)}"),
        figure_cell(found.auc),
        Cell(interval),
        Cell("" if difference is None else drawn_text(difference)),
    )


def _over(run: RunResults) -> str:
    """Say over which share of the scenarios a run's means are; empty if over all."""
    there = len(run.scenarios)
    return f" ({there} of {there + len(run.untested)} scenarios)" if run.untested else ""


def _row(summary: Summary, line: LineSummary, task: str) -> Row:
    own = line.tasks[task]
    difference, _ = difference_cells(summary, line.variant, task)
    against = own.against
    leading = () if summary.bootstrap is None else summary.bootstrap.leading(task)
    return (
        Cell(line.variant),
        replace(figure_cell(own.auc), best=line.variant in leading),
        difference,
        Cell("" if against is None else f"{against.win}/{against.tie}/{against.loss}"),
    )
