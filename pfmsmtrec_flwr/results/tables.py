"""A table of figures, ready to be shown in any form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pfmsmtrec_flwr.results.means import Spread

MISSING = "n/a"
LEVELS = 9
"""Number of shades of a heat map, from the worst of a column to the best."""

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure or word.

    Attributes
    ----------
    text
        The mean, or a word.
    sd
        The standard deviation; empty where there is none.
    level
        Shade, from 0 for the worst to `LEVELS` - 1 for the best; None: no shade.
    best
        True if it is marked: no figure that it is compared with is better, or none is by a clear difference.
    """

    text: str
    sd: str = ""
    level: int | None = None
    best: bool = False

    def __str__(self) -> str:
        return f"{self.text} ± {self.sd}" if self.sd else self.text


Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together, under a name that may be empty."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class FigureTable:
    """A table.

    Attributes
    ----------
    name
        Stem of its files.
    title
        Title without a full stop.
    heads
        Headings of all columns; a line break in a heading is a space where a form has one line for it.
    words
        Number of columns, from the left, that hold words; the others hold figures.
    groups
        The rows, each with as many cells as there are headings.
    notes
        Remarks below the table.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    words: int
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows."""
        return tuple(row for group in self.groups for row in group.rows)


def figure_cell(figure: Spread | float | None, digits: int = 4) -> Cell:
    """Return a figure with its standard deviation, if it has one."""
    if figure is None:
        return Cell(MISSING)
    if isinstance(figure, Spread):
        return Cell(f"{figure.mean:.{digits}f}", "" if figure.sd is None else f"{figure.sd:.{digits}f}")
    return Cell(f"{figure:.{digits}f}")


def share_cell(share: float | None, digits: int = 0) -> Cell:
    """Return a share as a percentage; one that rounds to zero has no sign.

    >>> str(share_cell(-0.004))
    '0%'
    """
    return Cell(MISSING if share is None else f"{share:z.{digits}%}")


def marked(cells: Sequence[Cell], better: Better, bold: Sequence[bool] | None = None) -> list[Cell]:
    """Shade figures that are compared with each other, unless they are all the same, and mark the best.

    Parameters
    ----------
    cells
        The figures.
    better
        Direction in which figures get better.
    bold
        Whether to mark each figure; None: those that are the best.
    """
    known = [float(cell.text) for cell in cells if cell.text != MISSING]
    if better == "neither" or len(known) < 2:
        return list(cells)
    worst, best = (min(known), max(known)) if better == "higher" else (max(known), min(known))

    def mark(cell: Cell, is_bold: bool | None) -> Cell:
        if cell.text == MISSING:
            return cell
        figure = float(cell.text)
        level = None if best == worst else round((figure - worst) / (best - worst) * (LEVELS - 1))
        return replace(cell, level=level, best=figure == best if is_bold is None else is_bold)

    marks: Sequence[bool | None] = [None] * len(cells) if bold is None else bold
    return [mark(*pair) for pair in zip(cells, marks, strict=True)]
