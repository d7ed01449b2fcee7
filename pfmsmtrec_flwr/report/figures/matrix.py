"""A matrix of scenarios by scenarios as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from pfmsmtrec_flwr.report.figures.style import WIDTH

_COLOURS = 41
_PRINTED = 12
"""Largest number of scenarios for which the cells of a matrix have room for a number."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Colours of a matrix: a colour map of matplotlib, dark at the ends that are far from 0, from `low` to `high`."""

    colours: str
    low: float
    high: float
    label: str


def draw_matrix(title: str, scenarios: Sequence[str], matrix: npt.NDArray[np.float64], scale: Scale) -> Figure:
    """Draw a matrix (K, K) with its numbers, if there is room for them; a cell of NaN stays empty."""
    figure = Figure(figsize=(WIDTH, 0.9 * WIDTH), layout="constrained")
    axes = figure.subplots()
    ticks = range(len(scenarios))
    # A mesh and few colours, as an image and a smooth scale would be pixels in an SVG.
    mesh = axes.pcolormesh(
        ticks,
        ticks,
        np.ma.masked_invalid(matrix),
        cmap=colormaps[scale.colours].resampled(_COLOURS),
        vmin=scale.low,
        vmax=scale.high,
        edgecolors="white",
    )
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    axes.set_xticks(ticks, scenarios, rotation=90 if max(map(len, scenarios)) > 4 else 0)
    axes.set_yticks(ticks, scenarios)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if len(scenarios) <= _PRINTED:
        size = 8 if len(scenarios) <= 6 else 6
        for row, column in zip(*np.nonzero(np.isfinite(matrix)), strict=True):
            value = round(float(matrix[row, column]), 2) + 0.0  # no minus before a zero
            shade = "white" if abs(value) > 0.7 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade, fontsize=size)
    figure.colorbar(mesh, ax=axes, shrink=0.8, label=scale.label)
    axes.set_title(title)
    return figure
