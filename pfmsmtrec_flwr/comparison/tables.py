"""A summary as tables: for the terminal, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich import table as rich_tables
from rich.text import Text

from pfmsmtrec_flwr.comparison.summarizing import spread
from pfmsmtrec_flwr.comparison.summary import Against, Described, Joined, Line, Spread, Summary, TaskSummary
from pfmsmtrec_flwr.results.table import MISSING

TABLES_NAME = "tables"


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure or word; the standard deviation apart, empty where there is none."""

    text: str
    sd: str = ""

    def __str__(self) -> str:
        return f"{self.text} ± {self.sd}" if self.sd else self.text


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a comparison.

    Attributes
    ----------
    name
        Stem of its files.
    title
        What it shows.
    heads
        Headings of all columns.
    words
        So many columns, from the left, hold words; the others figures.
    rows
        Cells, as many in each as there are columns.
    notes
        To be told below.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    words: int
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def tables(summary: Summary) -> list[Table]:
    """Return all tables of a summary."""
    return [means(summary), scenarios(summary), *([joining(summary)] if summary.joined else [])]


def means(summary: Summary) -> Table:
    """Return a row per task and method: means over scenarios, tests against the reference, and costs."""
    described = {variant.name: variant for variant in summary.variants}
    rows = [_mean_row(task, line, described[line.variant]) for task in summary.tasks for line in summary.lines]
    heads = ("task", "method", "family", "parameters", "AUC", "worst scenario", "log loss", "GAUC (coverage)")
    against = f"win/tie/loss to {summary.reference}"
    more = ("calibration", against, "p (Holm)", "over alone", "MB", "seconds", "trials")
    return Table(
        "means",
        f"{summary.dataset}: means over scenarios on test rows, mean ± sd over {_seeds(summary)}",
        heads + more,
        4,
        tuple(rows),
        tuple(summary.notes),
    )


def scenarios(summary: Summary) -> Table:
    """Return a row per scenario and task, a column per method: AUC."""
    rows = [
        (Cell(scenario), Cell(task), *(_figure(line.scenarios[scenario][task]) for line in summary.lines))
        for scenario in summary.scenarios
        for task in summary.tasks
        if summary.lines and task in summary.lines[0].scenarios[scenario]
    ]
    return Table(
        "scenarios",
        f"{summary.dataset}: AUC on test rows, mean ± sd over {_seeds(summary)}",
        ("scenario", "task", *(_label(line) for line in summary.lines)),
        2,
        tuple(rows),
        tuple(summary.notes),
    )


def joining(summary: Summary) -> Table:
    """Return a row per method, scenario, task and share of rows: AUC from the consensus, and from scratch."""
    by_key: dict[tuple[str, str, str, float], dict[str, list[Joined]]] = {}
    for each in summary.joined:
        starts = by_key.setdefault((each.method, each.scenario, each.task, each.share), {})
        starts.setdefault(each.start, []).append(each)
    rows = []
    for (method, scenario, task, share), starts in by_key.items():
        figures = (spread(each.auc for each in starts.get(start, [])) for start in ("consensus", "scratch"))
        cells = (_figure(found) for found in figures)
        rows.append((Cell(method), Cell(scenario), Cell(task), Cell(f"{share:.0%}"), *cells))
    return Table(
        "joining",
        f"{summary.dataset}: AUC on test rows of a scenario that joins later and trains alone on a share of its rows, "
        f"mean ± sd over {_seeds(summary)}",
        ("method", "scenario", "task", "share of rows", "joined with consensus", "from scratch"),
        4,
        tuple(rows),
    )


def text(table: Table) -> str:
    """Return the table as plain text, in columns."""
    lines = [list(table.heads), *([str(cell) for cell in row] for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.heads))]
    made = ["  ".join(_aligned(line, widths, table.words)).rstrip() for line in lines]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([table.title, "", made[0], rule, *made[1:], *_told(table)])


def markdown(table: Table) -> str:
    """Return the table as Markdown."""
    columns = len(table.heads)
    lines = [
        table.heads,
        ("---",) * table.words + ("---:",) * (columns - table.words),
        *(tuple(str(cell) for cell in row) for row in table.rows),
    ]
    body = [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
    return "\n".join([f"{table.title}.", "", *body, *_told(table), ""])


def as_csv(table: Table) -> str:
    """Return the table as CSV; standard deviations have columns of their own."""
    spread_out = [any(row[column].sd for row in table.rows) for column in range(len(table.heads))]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        name
        for head, has in zip(table.heads, spread_out, strict=True)
        for name in ([head, f"{head} sd"] if has else [head])
    )
    for row in table.rows:
        writer.writerow(
            part
            for cell, has in zip(row, spread_out, strict=True)
            for part in ([cell.text, cell.sd] if has else [cell.text])
        )
    return stream.getvalue()


def latex(table: Table) -> str:
    """Return the table as LaTeX, for the package booktabs."""
    shape = "l" * table.words + "r" * (len(table.heads) - table.words)
    return "\n".join(
        [
            *(f"% {line}" for line in (table.title, *table.notes)),
            rf"\begin{{tabular}}{{{shape}}}",
            r"\toprule",
            " & ".join(_escaped(head) for head in table.heads) + r" \\",
            r"\midrule",
            *(" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def rich_table(table: Table) -> rich_tables.Table:
    """Return the table for a terminal."""
    made = rich_tables.Table(box=box.SIMPLE_HEAD, title=table.title, title_justify="left", pad_edge=False)
    for number, head in enumerate(table.heads):
        made.add_column(head, justify="left" if number < table.words else "right")
    for row in table.rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    if table.notes:
        made.caption = Text("\n".join(table.notes))
        made.caption_justify = "left"
    return made


def write_tables(summary: Summary, folder: Path) -> Path:
    """Write every table in every form below a folder, and return where."""
    target = folder / TABLES_NAME
    target.mkdir(parents=True, exist_ok=True)
    for table in tables(summary):
        for ending, made in (("md", markdown(table)), ("csv", as_csv(table)), ("tex", latex(table))):
            (target / f"{table.name}.{ending}").write_text(made, encoding="utf-8")
    return target


def _mean_row(task: str, line: Line, variant: Described) -> tuple[Cell, ...]:
    own = line.tasks[task]
    return (
        Cell(task),
        Cell(_label(line)),
        Cell(variant.family),
        Cell("consensus" if line.which == "consensus" else variant.parameters),
        _figure(own.auc),
        Cell(MISSING if own.worst is None else f"{own.worst.auc:.4f} ({own.worst.scenario})"),
        _figure(own.logloss),
        _gauc(own),
        _figure(own.calibration, 3),
        *_against(own.against),
        Cell(MISSING if own.improvement is None else f"{own.improvement:+.1%}"),
        _figure(line.megabytes, 2),
        _figure(line.seconds, 1),
        Cell(str(variant.trials)),
    )


def _gauc(own: TaskSummary) -> Cell:
    if own.gauc is None or own.gauc_coverage is None:
        return Cell(MISSING)
    figure = _figure(own.gauc)
    return Cell(f"{figure} ({own.gauc_coverage.mean:.0%})")


def _against(against: Against | None) -> tuple[Cell, Cell]:
    if against is None:
        return Cell(""), Cell("")
    p = against.t_test_holm
    return Cell(f"{against.win}/{against.tie}/{against.loss}"), Cell(MISSING if p is None else f"{p:.4f}")


def _figure(found: Spread | None, digits: int = 4) -> Cell:
    if found is None:
        return Cell(MISSING)
    return Cell(f"{found.mean:.{digits}f}", "" if found.sd is None else f"{found.sd:.{digits}f}")


def _label(line: Line) -> str:
    return f"{line.variant} (consensus)" if line.which == "consensus" else line.variant


def _seeds(summary: Summary) -> str:
    count = len(summary.seeds)
    return f"{count} seed{'' if count == 1 else 's'}"


def _aligned(cells: Sequence[str], widths: Sequence[int], words: int) -> Iterator[str]:
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.ljust(width) if number < words else cell.rjust(width)


def _told(table: Table) -> list[str]:
    return ["", *(f"{note}." for note in table.notes)] if table.notes else []


def _latex_cell(cell: Cell) -> str:
    return rf"{_escaped(cell.text)} \,$\pm$\,{cell.sd}" if cell.sd else _escaped(cell.text)


def _escaped(words: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    return "".join(rf"\{sign}" if sign in "&%$#_{}" else special.get(sign, sign) for sign in words)
