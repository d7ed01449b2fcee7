from __future__ import annotations

import numpy as np
import pytest

from pfmsmtrec_flwr.report.figures.gates import draw_gates, selected_usage
from pfmsmtrec_flwr.report.study import LoggedRun, Study


def test_the_gates_of_the_selected_round_count(study: Study) -> None:
    run = study.variants[3].runs[0]
    usage = selected_usage(study, run)
    assert list(usage) == [("NL", "ctr"), ("US", "ctr")]
    assert usage["NL", "ctr"] == pytest.approx([0.7, 0.3])  # round 2


def test_the_last_round_counts_where_the_selected_one_was_not_logged(study: Study) -> None:
    run = study.variants[3].runs[0]
    usage = selected_usage(study, LoggedRun(run.results, run.rounds[:1]))
    assert usage["NL", "ctr"] == pytest.approx([0.6, 0.4])


def test_bars_and_course_of_a_method_with_gates(study: Study) -> None:
    bars, course = draw_gates(study)
    (axes,) = bars.figure.axes
    assert (bars.name, course.name) == ("gates-pf-msmtrec", "gates-course-pf-msmtrec")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["NL, ctr", "US, ctr"]
    assert [text.get_text() for text in axes.texts] == ["70%", "30%"] * 2
    (panel,) = course.figure.axes
    assert np.asarray(panel.lines[0].get_ydata()) == pytest.approx([0.6, 0.7, 0.8])
