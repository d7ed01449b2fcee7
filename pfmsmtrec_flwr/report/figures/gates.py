"""Share of each expert in the gates of each task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from pfmsmtrec_flwr.report.figures.style import (
    COLOURS,
    LINE,
    WIDTH,
    Drawing,
    colour,
    dash,
    frame_rounds,
    listed,
    panels,
    put_legend,
)
from pfmsmtrec_flwr.report.study import LoggedRun, LoggedVariant, Study
from pfmsmtrec_flwr.results.overviews import file_name

_WIDE_ENOUGH = 0.09
"""Smallest share whose part of a bar has room for its number."""
_HATCHES = ("", "////", "....", "xxxx")
_DARK = (COLOURS[0], COLOURS[-1])
"""Colours on which white text is easier to read than black."""

Usage = dict[tuple[str, str], list[float]]
"""Share of each expert, by scenario and task."""


def draw_gates(study: Study) -> Iterator[Drawing]:
    """Draw the gates of each method that has some: in the selected rounds, and over all rounds.

    Both are of the first seed, as experts of different seeds do not correspond.
    """
    for variant in study.variants:
        run = variant.runs[0]
        usage = selected_usage(study, run)
        if usage:
            yield _bars(variant, run, usage)
            yield from _course(study, variant, run)


def selected_usage(study: Study, run: LoggedRun) -> Usage:
    """Return the mean gates of each scenario's selected round, or of the last one logged if that was not logged."""
    usage = {}
    for task in study.figures.tasks:
        for scenario in study.figures.scenarios:
            series = run.gates(scenario, task)
            own = run.results.scenarios.get(scenario)
            if series and own is not None:
                usage[scenario, task] = series.get(own.selected_round, series[max(series)])
    return usage


def _bars(variant: LoggedVariant, run: LoggedRun, usage: Usage) -> Drawing:
    experts = max(map(len, usage.values()))
    rows = -(-experts // 3)
    figure = Figure(figsize=(WIDTH, len(usage) * 1.15 * LINE + rows * LINE + 0.75), layout="constrained")
    axes = figure.subplots()
    for place, shares in enumerate(usage.values()):
        left = 0.0
        for expert, share in enumerate(shares):
            axes.barh(
                place,
                share,
                left=left,
                height=0.82,
                color=colour(expert),
                hatch=_HATCHES[expert // len(COLOURS) % len(_HATCHES)],
                edgecolor="white",
                linewidth=0.5,
                label=f"expert {expert}",
            )
            if share >= _WIDE_ENOUGH:
                shade = "white" if colour(expert) in _DARK else "black"
                axes.text(
                    left + share / 2,
                    place,
                    f"{share:.0%}",
                    ha="center",
                    va="center",
                    color=shade,
                    fontsize=7,
                    bbox={"facecolor": colour(expert), "edgecolor": "none", "pad": 0.5},  # on hatches too
                )
            left += share
    axes.set_yticks(range(len(usage)), [f"{scenario}, {task}" for scenario, task in usage])
    axes.set_ylim(len(usage) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(visible=False)
    axes.set_xlabel("share of the gate")
    axes.set_title(variant.name)
    put_legend(figure, axes, columns=3)
    return Drawing(
        file_name("gates", variant.name),
        f"{variant.name}: mean share of each expert in the gate of each task, over validation rows in the selected "
        f"round, seed {run.results.seed}.",
        f"Stacked bars: shares of {experts} experts under {variant.name}, for {len(usage)} pairs of scenario and task.",
        figure,
    )


def _course(study: Study, variant: LoggedVariant, run: LoggedRun) -> Iterator[Drawing]:
    courses = {task: _over_scenarios(study, run, task) for task in study.figures.tasks}
    drawn = {task: course for task, course in courses.items() if course[0]}
    if not drawn:
        return
    experts = max(shares.shape[2] for _, shares in drawn.values())
    figure, axes = panels(len(drawn), experts, columns=3)
    for panel, (task, (rounds, shares)) in zip(axes, drawn.items(), strict=True):
        for expert in range(shares.shape[2]):
            own = shares[:, :, expert]
            hue = colour(expert)
            panel.plot(rounds, own.mean(axis=0), dash(expert), color=hue, label=f"expert {expert}")
            panel.fill_between(rounds, own.min(axis=0), own.max(axis=0), color=hue, alpha=0.12, linewidth=0)
        panel.set_ylabel(f"share, {task}")
    frame_rounds(figure, axes, variant.name, columns=3)
    yield Drawing(
        file_name("gates-course", variant.name),
        f"{variant.name}: share of each expert by round, mean over scenarios; the band reaches from the scenario that "
        f"takes least of it to the one that takes most. Seed {run.results.seed}.",
        f"Curves of the shares of {experts} experts under {variant.name}, for {listed(list(drawn))}.",
        figure,
    )


def _over_scenarios(study: Study, run: LoggedRun, task: str) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Return the rounds that all scenarios with gates have, and the shares (scenarios, rounds, experts)."""
    series = [own for own in (run.gates(scenario, task) for scenario in study.figures.scenarios) if own]
    common = sorted(set.intersection(*(set(own) for own in series))) if series else []
    if len(common) < 2:
        return [], np.zeros((0, 0, 0))
    return common, np.asarray([[own[number] for number in common] for own in series])
