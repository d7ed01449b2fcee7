from __future__ import annotations

from pfmsmtrec_flwr.report.figures.ranking import draw_rankings, ranked
from pfmsmtrec_flwr.report.study import Study


def test_the_best_comes_first_and_equals_stay_in_their_order(study: Study) -> None:
    assert [entry.label for entry, _ in ranked(study, "ctr")] == [
        "pf-msmtrec",
        "fedavg",
        "pf-msmtrec, consensus",
        "alone",
        "base-rate",
    ]


def test_the_picture_names_lines_figures_and_the_best_attainable(study: Study) -> None:
    ctr, ctcvr = draw_rankings(study)
    (axes,) = ctr.figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [e.label for e, _ in ranked(study, "ctr")]
    assert [text.get_text() for text in axes.texts] == ["0.7000", "0.6500", "0.6500", "0.6000", "0.5000"]
    assert axes.get_title() == "best attainable: 0.8750"
    assert (ctr.name, ctcvr.name, ctcvr.figure.axes[0].get_title()) == ("ranking-ctr", "ranking-ctcvr", "")
    assert "first pf-msmtrec with 0.7000, last base-rate with 0.5000" in ctr.alt
