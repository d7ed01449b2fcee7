"""The command that prints finished runs again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from pfmsmtrec_flwr.cli.options import absolute
from pfmsmtrec_flwr.errors import UserError

if TYPE_CHECKING:  # the command itself imports what computes: `--help` answers at once
    from pfmsmtrec_flwr.results.frame import Figures
    from pfmsmtrec_flwr.results.summary import Summary
    from pfmsmtrec_flwr.results.tables import FigureTable

ShownMetric = Literal["auc", "logloss", "logloss_calibrated", "gauc", "calibration", "calibration_calibrated"]


def show_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output folder of a run that has finished, or of a comparison.")
    ],
    wide: Annotated[bool, typer.Option("--wide", help="Print all figures and tests, wider than 80 columns.")] = False,
    metric: Annotated[
        ShownMetric | None, typer.Option(help="Print one figure, by scenario.", show_default="AUC")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
) -> None:
    """Print the tables of a finished run or comparison again."""
    if wide and metric is not None:
        raise UserError(f"got both --wide and --metric {metric}: --wide has all figures, --metric one by scenario")
    from pfmsmtrec_flwr.results.rendering import as_markdown
    from pfmsmtrec_flwr.results.summary import read_summary

    folder = absolute(folder)
    summary = read_summary(folder)
    console = Console()
    width = None if markdown else _width(console)
    tables = _run_tables(folder, wide, metric, width) if summary is None else _tables_of(summary, folder, wide, metric)
    if markdown:
        print("\n".join(as_markdown(table) for table in tables), end="")
    else:
        print_tables(tables, console)


def print_run_table(folder: Path, console: Console) -> None:
    """Print the table of the test figures in a run's output folder."""
    print_tables(_run_tables(folder, False, None, _width(console)), console)


def print_tables(tables: Iterable[FigureTable], console: Console) -> None:
    """Print tables one below the other."""
    from pfmsmtrec_flwr.results.rendering import show_table

    for table in tables:
        show_table(table, console)


def _width(console: Console) -> int | None:
    """Return the columns of a terminal; None for a file or a pipe, which is as wide as need be."""
    return console.width if console.is_terminal else None


def _run_tables(folder: Path, wide: bool, metric: ShownMetric | None, width: int | None) -> Iterator[FigureTable]:
    from pfmsmtrec_flwr.results.compact import compact_run_tables
    from pfmsmtrec_flwr.results.frame import Figures
    from pfmsmtrec_flwr.results.overviews import measure_tables, run_table, scenario_table
    from pfmsmtrec_flwr.results.rendering import as_text
    from pfmsmtrec_flwr.results.writer import read_run

    runs = read_run(folder)
    figures = Figures({results.method: [results] for results in runs})
    if metric is not None:
        yield from measure_tables(figures, metric)
    elif wide:
        title = f"{runs[0].method} on {runs[0].dataset}, test data"
        yield scenario_table(figures, figures.lines, figures.measured, title)
    else:
        table = run_table(runs)
        fits = width is None or all(len(line) <= width for line in as_text(replace(table, notes=())).splitlines())
        yield from [table] if fits else compact_run_tables(runs)


def _tables_of(summary: Summary, folder: Path, wide: bool, metric: ShownMetric | None) -> Iterator[FigureTable]:
    from pfmsmtrec_flwr.results.compact import compact_tables
    from pfmsmtrec_flwr.results.overviews import comparison_tables, measure_tables

    if metric is not None:
        yield from measure_tables(_figures_below(summary, folder), metric, summary.bootstrap)
    elif wide:
        yield from comparison_tables(summary, _figures_below(summary, folder))
    else:
        yield from compact_tables(summary)


def _figures_below(summary: Summary, folder: Path) -> Figures:
    """Return the figures of the runs that a summary counts."""
    from pfmsmtrec_flwr.results.frame import Figures
    from pfmsmtrec_flwr.results.schema import RunResults
    from pfmsmtrec_flwr.results.writer import read_results

    runs: dict[str, list[RunResults]] = {}
    for run in summary.runs:
        runs.setdefault(run.variant, []).append(read_results(folder / run.folder))
    return Figures(runs)
