"""The learned shares α and β over the rounds."""

from __future__ import annotations

from collections.abc import Iterator

from pfmsmtrec_flwr.report.figures.curves import Curve, curve_of, draw_curve
from pfmsmtrec_flwr.report.figures.style import Drawing, colour, dash, frame_rounds, listed, panels
from pfmsmtrec_flwr.report.study import LoggedVariant, Study
from pfmsmtrec_flwr.results.overviews import file_name

_SYMBOLS = {"alpha": "α", "beta": "β"}


def draw_shares(study: Study) -> Iterator[Drawing]:
    """Draw a picture for each method that learns shares: a panel for each share, a curve for each scenario."""
    for variant in study.variants:
        names = dict.fromkeys(
            name
            for run in variant.runs
            for entry in run.rounds
            for shares in (entry.alpha or {}).values()
            for name in shares
        )
        curves = {name: _curves(study, variant, name) for name in names}
        drawn = {name: own for name, own in curves.items() if own}
        if drawn:
            yield _shares(study, variant, drawn)


def _curves(study: Study, variant: LoggedVariant, name: str) -> dict[str, Curve]:
    scenarios = study.figures.scenarios
    found = {scenario: curve_of([run.share(scenario, name) for run in variant.runs]) for scenario in scenarios}
    return {scenario: curve for scenario, curve in found.items() if curve is not None}


def _shares(study: Study, variant: LoggedVariant, curves: dict[str, dict[str, Curve]]) -> Drawing:
    scenarios = study.figures.scenarios
    figure, axes = panels(len(curves), len(scenarios), columns=3)
    for panel, (name, own) in zip(axes, curves.items(), strict=True):
        for scenario, curve in own.items():
            place = scenarios.index(scenario)
            draw_curve(panel, curve, colour=colour(place), dash=dash(place), label=scenario)
        panel.set_ylabel(symbol(name))
    frame_rounds(figure, axes, variant.name, columns=3)
    symbols = listed([symbol(name) for name in curves])
    return Drawing(
        file_name("shares", variant.name),
        f"{variant.name}: {symbols} by round and scenario, mean over what the scenario learns one for, and over seeds, "
        "with a band of one standard deviation.",
        f"Curves of {symbols} that {variant.name} learned for {listed(scenarios)}.",
        figure,
    )


def symbol(name: str) -> str:
    """Return the symbol of a share in the papers."""
    return _SYMBOLS.get(name, name)
