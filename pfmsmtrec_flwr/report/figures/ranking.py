"""Methods ranked by the mean test AUC over scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pfmsmtrec_flwr.report.figures.looks import Look, looks_of
from pfmsmtrec_flwr.report.figures.style import GREY, LINE, WIDTH, Drawing
from pfmsmtrec_flwr.results.frame import Figures, Line, Model
from pfmsmtrec_flwr.results.means import Spread
from pfmsmtrec_flwr.results.overviews import file_name

Ranked = list[tuple[Line, Spread]]

_LONG = 24
"""Length of a label, in letters, from which on there is little room beside it."""
_MARKERS: dict[Model, str] = {"personalised": "o", "global": "s", "consensus": "D"}


def draw_rankings(figures: Figures) -> Iterator[Drawing]:
    """Draw a picture for each task that has an AUC."""
    looks = looks_of([line.variant for line in figures.models])
    for task in figures.tasks:
        order = figures.ranked(task)
        if order:
            yield _ranking(task, order, figures.best("auc", task), looks)


def _ranking(task: str, order: Ranked, best: Spread | None, looks: Mapping[str, Look]) -> Drawing:
    legend = _legend(order)
    height = len(order) * LINE + (len(legend) + 2) // 3 * LINE + 0.7
    longest = max(len(line.label) for line, _ in order)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    for place, (line, macro) in enumerate(order):
        hue = looks[line.variant].colour
        axes.errorbar(
            macro.mean,
            place,
            xerr=macro.sd,
            fmt=_MARKERS[line.model],
            color=hue,
            markerfacecolor="white" if line.model == "consensus" else hue,
            elinewidth=1.0,
            capsize=2.0,
        )
        axes.annotate(f"{macro.mean:.4f}", (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=7.5)
    if best is not None:  # in words: on the axis it would press the methods together
        axes.set_title(f"best attainable: {best.mean:.4f}", color=GREY)
    axes.set_yticks(range(len(order)), [line.label for line, _ in order])
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=4 if longest < _LONG else 2)
    axes.set_xlabel(f"macro AUC, {task}")
    axes.grid(axis="y", visible=False)
    figure.legend(handles=legend, loc="outside lower center", ncols=3, handlelength=1.4)
    first, macro = order[0]
    return Drawing(
        file_name("ranking", task),
        f"{task}: mean test AUC over scenarios, and one standard deviation over seeds to either side.",
        f"{len(order)} models ranked by macro AUC of {task}; first {first.label} with {macro.mean:.4f}, "
        f"last {order[-1][0].label} with {order[-1][1].mean:.4f}.",
        figure,
    )


def _legend(order: Ranked) -> list[Line2D]:
    models = [model for model in _MARKERS if any(line.model == model for line, _ in order)]
    return [
        Line2D(
            [],
            [],
            color=GREY,
            linestyle="",
            marker=_MARKERS[model],
            markerfacecolor="white" if model == "consensus" else GREY,
            label=model,
        )
        for model in models
    ]
