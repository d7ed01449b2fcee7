"""Learning curves: validation AUC by round."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes

from pfmsmtrec_flwr.report.figures.curves import Curve, curve_of, draw_curve
from pfmsmtrec_flwr.report.figures.looks import Look, looks_of
from pfmsmtrec_flwr.report.figures.style import Drawing, frame_rounds, listed, panels
from pfmsmtrec_flwr.report.study import LoggedVariant, Study
from pfmsmtrec_flwr.results.overviews import file_name

Curves = dict[str, dict[int, Curve]]
"""Curve by task, and by the variant's place in the study."""


def draw_learning(study: Study) -> Iterator[Drawing]:
    """Draw a picture for each scenario with a panel for each task; a method with a single round has no curve."""
    for scenario in study.figures.scenarios:
        curves = {task: _curves(study, scenario, task) for task in study.figures.tasks}
        drawn = {task: own for task, own in curves.items() if own}
        if drawn:
            yield _learning(study, scenario, drawn)


def _curves(study: Study, scenario: str, task: str) -> dict[int, Curve]:
    found = {}
    for place, variant in enumerate(study.variants):
        curve = curve_of([run.validation(scenario, task) for run in variant.runs])
        if curve is not None and len(curve.rounds) > 1:
            found[place] = curve
    return found


def _learning(study: Study, scenario: str, curves: Curves) -> Drawing:
    places = sorted({place for own in curves.values() for place in own})
    figure, axes = panels(len(curves), len(places))
    looks = looks_of([variant.name for variant in study.variants])
    for panel, (task, own) in zip(axes, curves.items(), strict=True):
        for place, curve in own.items():
            variant = study.variants[place]
            look = looks[variant.name]
            draw_curve(panel, curve, colour=look.colour, dash=look.dash, label=variant.name)
            _mark_selected(panel, variant, scenario, task, look)
        panel.set_ylabel(f"AUC, {task}")
    frame_rounds(figure, axes, scenario)
    names = [study.variants[place].name for place in places]
    return Drawing(
        file_name("learning", scenario),
        f"{scenario}: validation AUC by round, mean over seeds with a band of one standard deviation, as far as every "
        "seed went. A marker stands at the round selected with each seed.",
        f"Learning curves of {listed(names)} in scenario {scenario}, for {listed(list(curves))}.",
        figure,
    )


def _mark_selected(panel: Axes, variant: LoggedVariant, scenario: str, task: str, look: Look) -> None:
    for run in variant.runs:
        own = run.results.scenarios.get(scenario)
        series = run.validation(scenario, task)
        if own is not None and own.selected_round in series:
            panel.plot(
                own.selected_round,
                series[own.selected_round],
                look.marker,
                color=look.colour,
                markeredgecolor="white",
                markeredgewidth=0.5,
                markersize=4.5,
            )
