"""The tables of a comparison that a terminal of 80 columns has room for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pfmsmtrec_flwr.results.intervals import SEEDS_NOTE, difference_cells, interval_notes
from pfmsmtrec_flwr.results.overviews import joining_table, seeds_text
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
