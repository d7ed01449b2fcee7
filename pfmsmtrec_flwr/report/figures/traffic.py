"""Traffic against quality."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes

from pfmsmtrec_flwr.report.figures.looks import looks_of
from pfmsmtrec_flwr.report.figures.style import GREY, PANEL, Drawing, panels, put_legend
from pfmsmtrec_flwr.results.frame import Figures
from pfmsmtrec_flwr.results.means import Spread
from pfmsmtrec_flwr.results.overviews import file_name

_TICKS = 6
"""Largest number of ticks, unless powers of ten alone are more."""

Point = tuple[int, Spread, Spread]
"""Place of the variant, its traffic in MB, its mean AUC over scenarios."""


def draw_traffic(figures: Figures) -> Iterator[Drawing]:
    """Draw a picture for each task; none if nothing was sent."""
    for task in figures.tasks:
        points = _points(figures, task)
        if any(traffic.mean for _, traffic, _ in points):
            yield _traffic([line.variant for line in figures.models], task, points)


def _points(figures: Figures, task: str) -> list[Point]:
    """Return a point for each variant: the models that its scenarios end with, not their consensus."""
    points = []
    for place, line in enumerate(figures.models):
        macro, traffic = figures.spread(line, "auc", task), figures.spread(line, "megabytes")
        if macro is not None and traffic is not None:
            points.append((place, traffic, macro))
    return points


def _traffic(variants: Sequence[str], task: str, points: list[Point]) -> Drawing:
    figure, (axes,) = panels(1, len(points), height=1.3 * PANEL)
    sent = [traffic.mean for _, traffic, _ in points if traffic.mean]
    nothing = min(sent) / 3
    axes.set_xscale("log")
    ticks = round_ticks(min(sent), max(sent))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    looks = looks_of(variants)
    for place, traffic, macro in points:
        axes.errorbar(
            traffic.mean or nothing,
            macro.mean,
            xerr=traffic.sd if traffic.mean else None,
            yerr=macro.sd,
            fmt=looks[variants[place]].marker,
            color=looks[variants[place]].colour,
            label=variants[place],
            elinewidth=0.8,
            capsize=1.5,
        )
    if len(sent) < len(points):
        _mark_nothing(axes, nothing)
    axes.set_xlabel("MB sent in a run, up and down")
    axes.set_ylabel(f"macro AUC, {task}")
    put_legend(figure, axes)
    names = [variants[place] for place, _, _ in points]
    shown = [f"{traffic.mean:.3g} MB, {macro.mean:.4f}" for _, traffic, macro in points]
    listing = "; ".join(f"{name} {own}" for name, own in zip(names, shown, strict=True))
    return Drawing(
        file_name("traffic", task),
        f"{task}: macro test AUC against the parameters sent, up and down, in one run. "
        "A pooled method moves the rows themselves, which is not counted.",
        f"Traffic and macro AUC of {task}: {listing}.",
        figure,
    )


def round_ticks(low: float, high: float) -> list[float]:
    """Return round numbers that span a range on a logarithmic axis: powers of ten, and 2 and 5 between a few of them.

    >>> round_ticks(3.0, 8.0)
    [2.0, 5.0, 10.0]
    """
    powers = [10.0**exponent for exponent in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)]
    for ticks in ([base * power for power in powers for base in (1, 2, 5)], powers):
        first = max(tick for tick in ticks if tick <= low)
        last = min(tick for tick in ticks if tick >= high)
        within = [tick for tick in ticks if first <= tick <= last]
        if len(within) <= _TICKS:
            break
    return within


def _mark_nothing(axes: Axes, place: float) -> None:
    """Mark the place of methods that send nothing: a logarithmic axis has no zero."""
    axes.axvline(place, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    known = [float(tick) for tick in axes.get_xticks() if tick > place]
    axes.set_xticks([place, *known], ["none", *(f"{tick:g}" for tick in known)])
