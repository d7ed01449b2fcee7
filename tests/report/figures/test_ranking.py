from __future__ import annotations

from pfmsmtrec_flwr.report.figures.ranking import draw_rankings
from pfmsmtrec_flwr.report.study import Study


def test_the_picture_names_lines_figures_and_the_best_attainable(study: Study) -> None:
    ctr, ctcvr = draw_rankings(study.figures)
    (axes,) = ctr.figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        line.label for line, _ in study.figures.ranked("ctr")
    ]
    assert [text.get_text() for text in axes.texts] == ["0.7000", "0.6500", "0.6500", "0.6000", "0.5000"]
    assert axes.get_title() == "best attainable: 0.8750"
    assert (ctr.name, ctcvr.name, ctcvr.figure.axes[0].get_title()) == ("ranking-ctr", "ranking-ctcvr", "")
    assert "first pf-msmtrec with 0.7000, last base-rate with 0.5000" in ctr.alt
