"""Differences with their intervals as tables show them: cells, bold type, notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pfmsmtrec_flwr.results.bootstrap import Bootstrap, PairedDifference
from pfmsmtrec_flwr.results.frame import Line
from pfmsmtrec_flwr.results.summary import Summary
from pfmsmtrec_flwr.results.tables import MISSING, Cell, figure_cell

Bold = Callable[[Sequence[Line], str, str], Sequence[bool]]
"""Function that returns which lines are in bold type in a task and scenario."""
TESTED_SEEDS = 5
"""Seeds below which no p-value over seeds is printed."""
BOLD_NOTE = "bold: the first by AUC, and all whose interval of the difference to it contains 0; none where that is all"
SEEDS_NOTE = (
    "p over seeds: paired t-test, which speaks of the noise of training alone; not printed for fewer than "
    f"{TESTED_SEEDS} seeds"
)
_LEAST_P = 0.0001


def interval_text(found: PairedDifference) -> str:
    """Return a difference and its interval.

    >>> from pfmsmtrec_flwr.results.bootstrap import PairedDifference
    >>> interval = {"difference": 0.003, "low": -0.001, "high": 0.007, "error": 0.002, "p": 0.13}
    >>> interval_text(PairedDifference(variant="ours", other="alone", task="ctr", seeds=5, **interval))
    '+0.0030 [-0.0010, +0.0070]'
    """
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def difference_cells(summary: Summary, variant: str, task: str) -> tuple[Cell, Cell]:
    """Return the difference to the reference with its interval, and its corrected p-value."""
    if variant == summary.reference:
        return Cell(""), Cell("")
    found = summary.bootstrap and summary.bootstrap.difference(variant, summary.reference, task)
    if not found:
        line = summary.line(variant)
        against = None if line is None else line.tasks[task].against
        known = None if against is None else against.difference
        return Cell(MISSING if known is None else f"{known:+.4f}, no interval"), Cell(MISSING)
    return Cell(interval_text(found)), p_cell(found.p_holm)


def p_cell(p: float | None) -> Cell:
    """Return a p-value; one that would be shown as zero is not."""
    return Cell(f"<{_LEAST_P}") if p is not None and p < _LEAST_P else figure_cell(p)


def bold_by(bootstrap: Bootstrap | None) -> Bold:
    """Return the function that marks the variants in the lead; without intervals nobody is known to lead."""

    def bold(lines: Sequence[Line], task: str, scenario: str) -> list[bool]:
        leading = () if bootstrap is None else bootstrap.leading(task, scenario)
        return [line.model != "consensus" and line.variant in leading for line in lines]

    return bold


def interval_notes(summary: Summary) -> list[str]:
    """Return what a reader of intervals, p-values and bold type needs to know; nothing for a single variant."""
    if len(summary.variants) < 2:
        return []
    found = summary.bootstrap
    if found is None:
        return ["no interval: the runs left no predictions; run them again, with --fresh or into a new folder"]
    smallest = ", ".join(f"{task} {size:.4f}" for task, size in found.smallest.items())
    return [
        f"differences: 95 % intervals and p by a paired bootstrap, {found.draws} draws of {found.units} test "
        f"{found.unit} for all methods, seeds and scenarios at once; Holm's correction is for all methods and tasks",
        "smallest difference that these test rows can show (80 % power at 5 %, median over methods): "
        f"{smallest or MISSING}",
        *([f"no interval for {', '.join(found.missing)}: a run left no predictions"] if found.missing else []),
        SEEDS_NOTE,
        BOLD_NOTE,
    ]
