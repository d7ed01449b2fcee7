"""Tables as text, Markdown, CSV and LaTeX, and for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pfmsmtrec_flwr.results.tables import Cell, FigureTable, Group

TABLES_NAME = "tables"
FORMS = ("md", "csv", "tex")
"""Endings of a table's files."""


def as_text(table: FigureTable) -> str:
    """Return the table as plain text, in columns."""
    flat = _ungrouped(table)
    height = max(head.count("\n") for head in flat.heads)
    stacked = [[""] * (height - head.count("\n")) + head.split("\n") for head in flat.heads]
    heads = [list(line) for line in zip(*stacked, strict=True)]
    rows = [[str(cell) for cell in row] for row in flat.rows]
    widths = [max(map(len, column)) for column in zip(*heads, *rows, strict=True)]
    lines = ["  ".join(_aligned(line, widths, flat.words)).rstrip() for line in heads + rows]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    made, body = lines[: len(heads)], iter(lines[len(heads) :])
    for group in flat.groups:
        made += [rule, *(next(body) for _ in group.rows)]
    return "\n".join([table.title, "", *made, *_notes(table)])


def as_markdown(table: FigureTable) -> str:
    """Return the table as Markdown; the best figures in bold."""
    flat = _ungrouped(table)
    lines = [
        [_one_line(head) for head in flat.heads],
        ["---"] * flat.words + ["---:"] * (len(flat.heads) - flat.words),
        *([f"**{cell}**" if cell.best else str(cell) for cell in row] for row in flat.rows),
    ]
    body = [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
    return "\n".join([f"{table.title}.", "", *body, *_notes(table), ""])


def as_csv(table: FigureTable) -> str:
    """Return the table as CSV; standard deviations have columns of their own."""
    flat = _ungrouped(table)
    has_sd = [any(row[column].sd for row in flat.rows) for column in range(len(flat.heads))]
    heads = [(_one_line(head), f"{_one_line(head)} sd") for head in flat.heads]
    lines = [heads, *([(cell.text, cell.sd) for cell in row] for row in flat.rows)]
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(
        [part for pair, both in zip(line, has_sd, strict=True) for part in (pair if both else pair[:1])]
        for line in lines
    )
    return stream.getvalue()


def as_latex(table: FigureTable) -> str:
    """Return the table as LaTeX for the package booktabs; the best figures in bold."""
    shape = "l" * table.words + "r" * (len(table.heads) - table.words)
    made = [*(f"% {line}" for line in (table.title, *table.notes)), rf"\begin{{tabular}}{{{shape}}}", r"\toprule"]
    made.append(" & ".join(_escaped(_one_line(head)) for head in table.heads) + r" \\")
    for group in table.groups:
        made += [r"\midrule", *(" & ".join(map(_latex_cell, row)) + r" \\" for row in group.rows)]
    return "\n".join([*made, r"\bottomrule", r"\end{tabular}", ""])


def rich_table(table: FigureTable) -> Table:
    """Return the table for a terminal; the best figures stand out."""
    flat = _ungrouped(table)
    made = Table(box=box.SIMPLE_HEAD, title=Text(table.title), title_justify="left", pad_edge=False)
    for number, head in enumerate(flat.heads):
        made.add_column(Text(head), justify="left" if number < flat.words else "right")
    for group in flat.groups:
        made.add_section()
        for row in group.rows:
            made.add_row(*(Text(str(cell), style="bold green" if cell.best else "") for cell in row))
    if table.notes:
        made.caption, made.caption_justify = Text("\n".join(table.notes)), "left"
    return made


def show_table(table: FigureTable, console: Console) -> None:
    """Print a table on a terminal, or as plain text to a file or a pipe, which is as wide as need be."""
    if console.is_terminal:
        console.print(rich_table(table))
    else:
        console.print(Text(f"{as_text(table)}\n"), soft_wrap=True)


def write_tables(tables: Iterable[FigureTable], folder: Path) -> None:
    """Write every table in every form of `FORMS` to a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        for ending, made in zip(FORMS, (as_markdown(table), as_csv(table), as_latex(table)), strict=True):
            (folder / f"{table.name}.{ending}").write_text(made, encoding="utf-8")


def _ungrouped(table: FigureTable) -> FigureTable:
    """Return the table with the names of its groups, if they have any, as a first column."""
    if not any(group.name for group in table.groups):
        return table
    groups = (Group("", tuple((Cell(group.name), *row) for row in group.rows)) for group in table.groups)
    return replace(table, heads=("family", *table.heads), words=table.words + 1, groups=tuple(groups))


def _one_line(head: str) -> str:
    return head.replace("\n", " ")


def _aligned(cells: Sequence[str], widths: Sequence[int], words: int) -> Iterator[str]:
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.ljust(width) if number < words else cell.rjust(width)


def _notes(table: FigureTable) -> list[str]:
    return ["", *(f"{note}." for note in table.notes)] if table.notes else []


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{_escaped(cell.text)}}}" if cell.best else _escaped(cell.text)
    return rf"{text} \,$\pm$\,{cell.sd}" if cell.sd else text


def _escaped(words: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    return "".join(rf"\{sign}" if sign in "&%$#_{}" else special.get(sign, sign) for sign in words)
