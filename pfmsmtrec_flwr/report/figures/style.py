"""The look of every picture: one column of a paper wide, with colours and dashes that all readers can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH = 3.35
"""Width of a picture, in inches."""
PANEL = 1.45
"""Height of one panel of curves, in inches."""
LINE = 0.16
"""Height of a line of a legend or of a row of bars, in inches."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of Okabe and Ito without the yellow, which is too pale for a line."""
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
GREY = "#6B6B6B"

_SETTINGS: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.0,
    "legend.labelspacing": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.formatter.useoffset": False,
    "text.parse_math": False,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.02,
    "svg.fonttype": "none",
    "svg.hashsalt": "pfmsmtrec",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture that is drawn and not saved yet.

    Attributes
    ----------
    name
        Stem of its files.
    caption
        Description for all readers.
    alt
        Description for readers who do not see the picture.
    figure
        Figure of matplotlib.
    """

    name: str
    caption: str
    alt: str
    figure: Figure


@contextmanager
def style() -> Iterator[None]:
    """Apply the project's look while pictures are drawn and saved."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's own configuration does not count
        matplotlib.rcParams.update(_SETTINGS)
        yield


def colour(place: int) -> str:
    """Return the colour of a curve by its place; they repeat, with other dashes and markers."""
    return COLOURS[place % len(COLOURS)]


def dash(place: int) -> str:
    """Return the dashes of a curve by its place."""
    return DASHES[place // len(COLOURS) % len(DASHES)]


def marker(place: int) -> str:
    """Return the marker of a point by its place."""
    return MARKERS[place % len(MARKERS)]


def panels(count: int, legend: int, columns: int = 2, height: float = PANEL) -> tuple[Figure, list[Axes]]:
    """Return `count` panels above each other, with room below for a legend of `legend` entries."""
    rows = -(-legend // columns)
    figure = Figure(figsize=(WIDTH, count * height + rows * LINE + 0.25), layout="constrained")
    axes = figure.subplots(count, 1, sharex=True, squeeze=False)
    return figure, [row[0] for row in axes]


def put_legend(figure: Figure, *axes: Axes, columns: int = 2) -> None:
    """Add a legend below the panels that names each curve once."""
    named: dict[str, Artist] = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=columns)


def frame_rounds(figure: Figure, axes: Sequence[Axes], title: str, columns: int = 2) -> None:
    """Add the title, the axis of whole rounds and the legend of panels that show curves by round."""
    axes[0].set_title(title)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes[-1].set_xlabel("round")
    put_legend(figure, *axes, columns=columns)


def listed(words: Sequence[str]) -> str:
    """Return words as an enumeration.

    >>> listed(["NL", "ES", "US"])
    'NL, ES and US'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
