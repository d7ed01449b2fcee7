from __future__ import annotations

from typing import Any

from pfmsmtrec_flwr.methods import METHODS
from pfmsmtrec_flwr.report.figures.learning import draw_learning
from pfmsmtrec_flwr.report.figures.looks import LOOKS, looks_of
from pfmsmtrec_flwr.report.figures.ranking import draw_rankings
from pfmsmtrec_flwr.report.figures.traffic import draw_traffic
from pfmsmtrec_flwr.report.study import Study


def test_every_method_has_a_look_that_no_other_has() -> None:
    assert LOOKS.keys() == METHODS.keys()
    assert len(set(LOOKS.values())) == len(LOOKS)
    usual = ["alone", "pooled-mmoe", "fedavg", "fedprox", "fedbn", "fedper", "ditto", "mr-mtl", "fedhca2", "pf-msmtrec"]
    assert len({LOOKS[name].colour for name in usual}) == len(usual)


def test_a_method_looks_the_same_whatever_stands_beside_it() -> None:
    turned = [f"pf-msmtrec: switch {number}" for number in range(30)]
    few, many = looks_of(["pf-msmtrec", turned[3]]), looks_of(["fedavg", *turned, "pf-msmtrec"])
    assert few["pf-msmtrec"] == many["pf-msmtrec"] == LOOKS["pf-msmtrec"]
    assert len(set(many.values())) == 32
    assert looks_of(turned) == looks_of(turned[::-1])


def hue(bars: Any) -> str:
    return str(bars.lines[0].get_color())


def test_all_pictures_of_a_page_have_the_same_colours(study: Study) -> None:
    (axes,) = next(draw_learning(study)).figure.axes
    curves = {str(line.get_label()): line.get_color() for line in axes.lines if line.get_label() in LOOKS}
    (ranking,) = next(draw_rankings(study.figures)).figure.axes
    labels = [tick.get_text() for tick in ranking.get_yticklabels()]
    points = dict(zip(labels, map(hue, ranking.containers), strict=True))
    (traffic,) = next(draw_traffic(study.figures)).figure.axes
    sent = {str(bars.get_label()): hue(bars) for bars in traffic.containers}
    for name in ("alone", "fedavg", "pf-msmtrec"):
        assert curves[name] == points[name] == sent[name] == LOOKS[name].colour
    assert points["pf-msmtrec (consensus)"] == LOOKS["pf-msmtrec"].colour
