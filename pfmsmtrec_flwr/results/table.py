"""The table of a run: one row per scenario and task, the methods side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from pfmsmtrec_flwr.results.schema import RunResults, mean
from pfmsmtrec_flwr.results.writer import read_results

MISSING = "n/a"
BASELINE = "alone"
"""The method that the gap to the best attainable is measured from."""
BEST = "best"
"""Heading of the best attainable figures."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of figures; `group` is what it shows, `name` whose it is."""

    group: str
    name: str


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario and task, its figures already as text; `mean` marks a mean over scenarios."""

    scenario: str
    task: str
    cells: tuple[str, ...]
    mean: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run's results beside those of its reference methods.

    Attributes
    ----------
    results
        Of the method that the run is about.
    references
        Of the methods run beside it.
    """

    results: RunResults
    references: tuple[RunResults, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Comparison:
        """Read a run's output folder, and the folders of its reference methods below.

        Raises
        ------
        UserError
            One of the files is missing or not one of ours.
        """
        results = read_results(folder)
        return cls(results, tuple(read_results(folder / name) for name in results.reference))

    @property
    def methods(self) -> tuple[RunResults, ...]:
        """The run's own method first."""
        return (self.results, *self.references)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The figures shown; the best attainable and the gap only where they are known."""
        names = [results.method for results in self.methods]
        best = [BEST] if self._knows_best else []
        gap = [Column("gap", "closed")] if self._knows_best and self._baseline is not None else []
        return (
            *(Column("AUC", name) for name in names + best),
            *gap,
            *(Column("log loss", name) for name in names + best),
        )

    @property
    def rows(self) -> tuple[Row, ...]:
        """A row per scenario and task, then the mean over scenarios of each task."""
        pairs = [(name, task) for name, scenario in self.results.scenarios.items() for task in scenario.tasks]
        rows = [Row(scenario, task, self._cells([scenario], task)) for scenario, task in pairs]
        if len(self.results.scenarios) > 1:
            for task in self.results.tasks:
                having = [scenario for scenario, owned in pairs if owned == task]
                rows.append(Row("mean", task, self._cells(having, task), mean=True))
        return tuple(rows)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures has to know of the data, a line for each scenario concerned."""
        return tuple(f"{name}: {own.note}" for name, own in self.results.scenarios.items() if own.note)

    @property
    def _knows_best(self) -> bool:
        return self.results.best_attainable is not None

    @property
    def _baseline(self) -> RunResults | None:
        others = [results for results in self.references if results.method == BASELINE]
        return others[0] if others else None

    def _cells(self, scenarios: list[str], task: str) -> tuple[str, ...]:
        """Figures of `task`, averaged over `scenarios`."""
        auc = self._means(scenarios, task, "auc")
        loss = self._means(scenarios, task, "logloss")
        cells = [_number(value) for value in auc]
        if self._knows_best:
            best = mean([self._best(scenario, task, "auc") for scenario in scenarios])
            cells.append(_number(best))
            if self._baseline is not None:
                cells.append(_share(auc[0], auc[self.methods.index(self._baseline)], best))
        cells += [_number(value) for value in loss]
        if self._knows_best:
            cells.append(_number(mean([self._best(scenario, task, "logloss") for scenario in scenarios])))
        return tuple(cells)

    def _means(self, scenarios: list[str], task: str, name: str) -> list[float | None]:
        """Return each method's mean; None for one that lacks a figure which another has, as its mean would mislead."""
        figures = [[_figure(results, scenario, task, name) for scenario in scenarios] for results in self.methods]
        defined = [any(figure is not None for figure in column) for column in zip(*figures, strict=True)]
        kept = [[figure for figure, keep in zip(row, defined, strict=True) if keep] for row in figures]
        return [None if None in row else mean(row) for row in kept]

    def _best(self, scenario: str, task: str, name: str) -> float | None:
        attainable = (self.results.best_attainable or {}).get(scenario, {}).get(task)
        return None if attainable is None else getattr(attainable, name)


def gap_closed(auc: float | None, baseline: float | None, best: float | None) -> float | None:
    """Return the share of the way from `baseline` to `best` that `auc` has made; None where there is no way to make.

    >>> gap_closed(0.65, 0.60, 0.70)
    0.5
    """
    if auc is None or baseline is None or best is None or best <= baseline:
        return None
    return round((auc - baseline) / (best - baseline), 9)


def text(comparison: Comparison) -> str:
    """Return the table as plain text, in columns."""
    rows = comparison.rows
    lines = [_heading(comparison, 0), _heading(comparison, 1)]
    lines += [[row.scenario, row.task, *row.cells] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    made = [_aligned(line, widths) for line in lines]
    rule = "-" * len(made[1])
    scenarios = 2 + sum(not row.mean for row in rows)
    body, means = made[2:scenarios], made[scenarios:]
    notes = ["", *comparison.notes] if comparison.notes else []
    return "\n".join([*made[:2], rule, *body, *([rule, *means] if means else []), *notes])


def markdown(comparison: Comparison) -> str:
    """Return the table as Markdown, for a README; the means in bold."""
    heads = [f"{column.group}, {column.name}" for column in comparison.columns]
    heads = [head.replace("gap, closed", "gap closed") for head in heads]
    lines = [["scenario", "task", *heads], ["---", "---", *["---:"] * len(heads)]]
    for row in comparison.rows:
        cells = [row.scenario, row.task, *row.cells]
        lines.append([f"**{cell}**" for cell in cells] if row.mean else cells)
    notes = ["", *(f"{note}." for note in comparison.notes)] if comparison.notes else []
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), *notes])


def rich_table(comparison: Comparison) -> Table:
    """Return the table for a terminal; the best of the methods' figures in each row stands out."""
    table = Table(box=box.SIMPLE_HEAD, title=title(comparison), title_justify="left", pad_edge=False)
    table.add_column("scenario", style="bold")
    table.add_column("task")
    for column in comparison.columns:
        table.add_column(f"{column.group}\n{column.name}", justify="right", no_wrap=True)
    rows = comparison.rows
    for i, row in enumerate(rows):
        if row.mean and not rows[i - 1].mean:
            table.add_section()
        winners = _winners(comparison, row)
        cells = [Text(cell, style="bold green" if place in winners else "") for place, cell in enumerate(row.cells)]
        table.add_row(row.scenario, row.task, *cells, style="italic" if row.mean else "")
    if comparison.notes:
        table.caption = "\n".join(comparison.notes)
        table.caption_justify = "left"
    return table


def title(comparison: Comparison) -> str:
    """Say in one line what was run."""
    results = comparison.results
    against = f" against {', '.join(other.method for other in comparison.references)}" if comparison.references else ""
    return (
        f"{results.method}{against} on {results.dataset}, test data, seed {results.seed}, "
        f"{results.rounds} round{'' if results.rounds == 1 else 's'}"
    )


def _winners(comparison: Comparison, row: Row) -> set[int]:
    winners: set[int] = set()
    if not comparison.references:
        return winners
    for group, choose in (("AUC", max), ("log loss", min)):
        places = [i for i, c in enumerate(comparison.columns) if c.group == group and c.name != BEST]
        known = [float(row.cells[i]) for i in places if row.cells[i] != MISSING]
        winners |= {i for i in places if known and row.cells[i] != MISSING and float(row.cells[i]) == choose(known)}
    return winners


def _heading(comparison: Comparison, line: int) -> list[str]:
    columns = comparison.columns
    return [*(["", ""] if line == 0 else ["scenario", "task"]), *((c.group if line == 0 else c.name) for c in columns)]


def _aligned(cells: list[str], widths: list[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join(left + right)


def _figure(results: RunResults, scenario: str, task: str, name: str) -> float | None:
    found = results.scenarios.get(scenario)
    figures = found.tasks.get(task) if found is not None else None
    return None if figures is None else getattr(figures, name)


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def _share(auc: float | None, baseline: float | None, best: float | None) -> str:
    share = gap_closed(auc, baseline, best)
    return MISSING if share is None else f"{share:.0%}"
