"""The tables of a report, and what they are as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from pfmsmtrec_flwr.report.figures.ranking import ranked
from pfmsmtrec_flwr.report.figures.style import file_name
from pfmsmtrec_flwr.report.figures.traffic import MEGABYTE
from pfmsmtrec_flwr.report.study import Metric, Spread, Study, Variant, spread
from pfmsmtrec_flwr.results.table import MISSING

LEVELS = 9
"""Shades of a heat map, from the worst of a column to the best."""

Better = Literal["higher", "lower", "neither"]
_BETTER: dict[Metric, Better] = {"auc": "higher", "gauc": "higher", "logloss": "lower", "calibration": "neither"}
_TITLES: dict[Metric, str] = {
    "auc": "AUC",
    "gauc": "GAUC",
    "logloss": "log loss",
    "calibration": "calibration, predicted over observed positives",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure, as text.

    Attributes
    ----------
    text
        The mean, or what else there is to say.
    sd
        The standard deviation; empty where there is none.
    level
        Shade, from 0 for the worst of its column to `LEVELS` - 1 for the best; None: none.
    best
        Whether no other line of the column is better.
    """

    text: str
    sd: str = ""
    level: int | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line; `heads` say what it is about."""

    heads: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that belong together, under a name; the name may be empty."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table, ready to be shown.

    Attributes
    ----------
    name
        Stem of its files.
    caption
        What it shows.
    heads, columns
        Headings of the lines' heads, and of their cells.
    groups
        The lines.
    """

    name: str
    caption: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All lines."""
        return tuple(row for group in self.groups for row in group.rows)

    @property
    def spreads(self) -> tuple[bool, ...]:
        """Which columns have a standard deviation."""
        return tuple(any(row.cells[place].sd for row in self.rows) for place in range(len(self.columns)))


def data_table(study: Study) -> Table:
    """Return the scenarios' sizes and, by task, the positives in their test rows."""
    rows = []
    for scenario in study.scenarios:
        sizes = next(results.scenarios[scenario].examples for results in study.results if scenario in results.scenarios)
        counts = [sizes.train, sizes.validation, sizes.test]
        found = [study.example(scenario, task) for task in study.tasks]
        positives = [MISSING if own is None else str(own.positives) for own in found]
        rows.append(Row((scenario,), tuple(Cell(text) for text in (*(str(count) for count in counts), *positives))))
    columns = ("train", "validation", "test", *(f"positives of {task} in test" for task in study.tasks))
    return Table("data", "Impressions of each scenario", ("scenario",), columns, (Group("", tuple(rows)),))


def ranking_table(study: Study) -> Table:
    """Return every line's macro AUC and its place, by task."""
    places = {
        task: {entry.label: place for place, (entry, _) in enumerate(ranked(study, task), 1)} for task in study.tasks
    }
    columns = [[_cell(study.macro(entry, task, "auc")) for entry in study.entries] for task in study.tasks]
    shaded = [_shaded(column, "higher") for column in columns]
    cells = []
    for number, entry in enumerate(study.entries):
        row = []
        for place, task in enumerate(study.tasks):
            row += [shaded[place][number], Cell(str(places[task].get(entry.label, MISSING)))]
        cells.append((*row, Cell(str(len(entry.variant.runs)))))
    headings = [heading for task in study.tasks for heading in (task, f"place, {task}")]
    return Table(
        "ranking",
        "Macro AUC on test rows (mean over scenarios), with the standard deviation over seeds",
        ("method", "model"),
        (*headings, "seeds"),
        _by_family(study, cells),
    )


def measure_tables(study: Study, metric: Metric) -> Iterator[Table]:
    """Return a table for each task in which some line has the figure: lines by scenarios, and their mean.

    Parameters
    ----------
    study
        The runs.
    metric
        What is shown; of the calibration, a ratio, there is no mean.
    """
    for task in study.tasks:
        if study.defined(task, metric):
            yield _measure_table(study, task, metric)


def _measure_table(study: Study, task: str, metric: Metric) -> Table:
    scenarios = study.having(task)
    columns = [[_cell(entry.figure(name, task, metric)) for entry in study.entries] for name in scenarios]
    averaged = metric != "calibration" and len(scenarios) > 1
    if averaged:
        columns.append([_cell(study.macro(entry, task, metric)) for entry in study.entries])
    shaded = [_shaded(column, _BETTER[metric]) for column in columns]
    groups = _by_family(study, list(zip(*shaded, strict=True)))
    return Table(
        file_name(metric, task),
        f"{task}: {_TITLES[metric]} on test rows",
        ("method", "model"),
        (*scenarios, "mean") if averaged else scenarios,
        (*groups, *_attainable(study, task, metric, averaged), *_coverage(study, task, metric, averaged)),
    )


def cost_table(study: Study) -> Table:
    """Return what a run of each method costs."""
    cells = []
    for variant in study.variants:
        results = [run.results for run in variant.runs]
        figures = (
            (spread(float(own.rounds) for own in results), 1),
            (spread(own.seconds.total for own in results), 1),
            (spread(own.seconds.train for own in results), 1),
            (spread(own.seconds.aggregate for own in results), 1),
            (spread(own.traffic.up_bytes / MEGABYTE for own in results), 2),
            (spread(own.traffic.down_bytes / MEGABYTE for own in results), 2),
        )
        cells.append(tuple(_cell(figure, digits) for figure, digits in figures))
    rows = [(variant, Row((variant.name,), own)) for variant, own in zip(study.variants, cells, strict=True)]
    return Table(
        "cost",
        "Rounds, wall-clock time and traffic of one run",
        ("method",),
        ("rounds", "total, s", "waiting for training, s", "server, s", "up, MB", "down, MB"),
        _grouped(rows),
    )


def as_csv(table: Table) -> str:
    """Return the table as CSV: a line per row, the standard deviations in columns of their own."""
    spreads = table.spreads
    headings = [heading for name, has in zip(table.columns, spreads, strict=True) for heading in _named(name, has)]
    grouped = any(group.name for group in table.groups)
    lines = [[*(["family"] if grouped else []), *table.heads, *headings]]
    for group in table.groups:
        for row in group.rows:
            cells = [
                text
                for cell, has in zip(row.cells, spreads, strict=True)
                for text in ([cell.text, cell.sd] if has else [cell.text])
            ]
            lines.append([*([group.name] if grouped else []), *row.heads, *cells])
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue()


def as_latex(table: Table) -> str:
    """Return the table as LaTeX, for the package booktabs; the best figures in bold."""
    shape = "l" * len(table.heads) + "r" * len(table.columns)
    bodies = ["\n".join(_latex_row(row) for row in group.rows) for group in table.groups]
    return "\n".join(
        [
            f"% {table.caption}",
            rf"\begin{{tabular}}{{{shape}}}",
            r"\toprule",
            " & ".join(_escaped(name) for name in (*table.heads, *table.columns)) + r" \\",
            r"\midrule",
            "\n\\midrule\n".join(bodies),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _attainable(study: Study, task: str, metric: Metric, averaged: bool) -> tuple[Group, ...]:
    known = [study.attainable(name, task, metric) for name in study.having(task)]
    if all(figure is None for figure in known):
        return ()
    figures = [*known, study.attainable_macro(task, metric)] if averaged else known
    cells = tuple(Cell(MISSING if figure is None else f"{figure:.4f}") for figure in figures)
    return (Group("attainable", (Row(("best attainable", "true probabilities"), cells),)),)


def _coverage(study: Study, task: str, metric: Metric, averaged: bool) -> tuple[Group, ...]:
    if metric != "gauc":
        return ()
    found = [study.example(name, task) for name in study.having(task)]
    shares = [None if own is None else own.gauc_coverage for own in found]
    cells = [Cell(MISSING if share is None else f"{share:.1%}") for share in shares]
    row = Row(("share of impressions that count", ""), (*cells, *([Cell("")] if averaged else [])))
    return (Group("coverage", (row,)),)


def _cell(figure: Spread | None, digits: int = 4) -> Cell:
    if figure is None:
        return Cell(MISSING)
    return Cell(f"{figure.mean:.{digits}f}", "" if figure.sd is None else f"{figure.sd:.{digits}f}")


def _shaded(column: Sequence[Cell], better: Better) -> list[Cell]:
    """Return a column's cells, shaded by where they lie between its worst and its best."""
    known = [float(cell.text) for cell in column if cell.text != MISSING]
    if better == "neither" or len(known) < 2 or min(known) == max(known):
        return list(column)
    worst, best = (min(known), max(known)) if better == "higher" else (max(known), min(known))

    def shaded(cell: Cell) -> Cell:
        if cell.text == MISSING:
            return cell
        way = (float(cell.text) - worst) / (best - worst)
        return replace(cell, level=round(way * (LEVELS - 1)), best=float(cell.text) == best)

    return [shaded(cell) for cell in column]


def _by_family(study: Study, cells: Sequence[tuple[Cell, ...]]) -> tuple[Group, ...]:
    """Return a line for each entry of the study, grouped by family."""
    pairs = zip(study.entries, cells, strict=True)
    return _grouped([(entry.variant, Row((entry.variant.name, entry.model), own)) for entry, own in pairs])


def _grouped(rows: Sequence[tuple[Variant, Row]]) -> tuple[Group, ...]:
    by_family = groupby(rows, lambda pair: pair[0].family)
    return tuple(Group(family, tuple(row for _, row in pairs)) for family, pairs in by_family)


def _named(column: str, has_sd: bool) -> list[str]:
    return [column, f"{column} sd"] if has_sd else [column]


def _latex_row(row: Row) -> str:
    return " & ".join([*(_escaped(head) for head in row.heads), *(_latex_cell(cell) for cell in row.cells)]) + r" \\"


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{_escaped(cell.text)}}}" if cell.best else _escaped(cell.text)
    return rf"{text} \,$\pm$\,{cell.sd}" if cell.sd else text


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(rf"\{sign}" if sign in "&%$#_{}" else special.get(sign, sign) for sign in text)
