from __future__ import annotations

import numpy as np
import pytest

from pfmsmtrec_flwr.report.figures.conflict import draw_conflicts, mean_matrix
from pfmsmtrec_flwr.report.study import Study
from pfmsmtrec_flwr.results.rounds import ConflictRound


def conflict(scenarios: list[str], cosines: list[list[list[float]]]) -> ConflictRound:
    return ConflictRound(scenarios=scenarios, mean=[0.0], cosines=cosines)


def test_the_matrix_is_the_mean_over_experts_and_seeds() -> None:
    one = conflict(["NL", "US"], [[[1.0, 0.5], [0.5, 1.0]], [[1.0, -0.1], [-0.1, 1.0]]])
    other = conflict(["NL", "US"], [[[1.0, 0.0], [0.0, 1.0]]])
    scenarios, matrix = mean_matrix([one, other])
    assert scenarios == ["NL", "US"]
    assert matrix == pytest.approx(np.asarray([[1.0, 0.1], [0.1, 1.0]]))


def test_there_is_no_matrix_of_too_many_or_of_different_scenarios() -> None:
    full = conflict(["NL"], [[[1.0]]])
    assert mean_matrix([conflict([], [])])[0] == []
    assert mean_matrix([full, conflict(["US"], [[[1.0]]])])[0] == []


def test_the_course_and_the_first_and_last_matrix_of_a_method_that_looks_at_it(study: Study) -> None:
    course, first, last = draw_conflicts(study)
    assert [course.name, first.name, last.name] == [
        "conflict-pf-msmtrec",
        "conflict-first-pf-msmtrec",
        "conflict-last-pf-msmtrec",
    ]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in course.figure.axes[0].lines[1:]}
    assert lines["expert 1"] == pytest.approx([0.3, 0.6, 0.9])
    assert lines["all experts"] == pytest.approx([0.2, 0.4, 0.6])
    assert [text.get_text() for text in last.figure.axes[0].texts] == ["1.00", "0.60", "0.60", "1.00"]
    assert first.figure.axes[0].get_title() == "pf-msmtrec, round 1"
    assert "from 0.60 to 0.60" in last.alt
