from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pfmsmtrec_flwr.report.figures.attention import draw_attention, selected_weights
from pfmsmtrec_flwr.report.study import LoggedRun, LoggedVariant, Study
from pfmsmtrec_flwr.results.rounds import AttentionRound, RoundMetrics


@pytest.fixture
def run(study: Study) -> LoggedRun:
    return study.variants[3].runs[0]


def with_attention(entry: RoundMetrics, **attention: AttentionRound) -> RoundMetrics:
    return entry.model_copy(update={"attention": attention})


def test_each_row_is_of_the_scenarios_selected_round(run: LoggedRun) -> None:
    found = selected_weights(run, "ctr", ["NL", "US"])
    assert found == pytest.approx(np.asarray([[0.7, 0.3], [0.4, 0.6]]))  # round 2


def test_the_last_round_counts_where_the_selected_one_was_not_logged(run: LoggedRun) -> None:
    found = selected_weights(LoggedRun(run.results, run.rounds[:1]), "ctr", ["NL", "US"])
    assert found == pytest.approx(np.asarray([[0.6, 0.4], [0.2, 0.8]]))


def test_who_missed_the_round_or_lacks_the_task_has_no_weights(run: LoggedRun) -> None:
    alone = AttentionRound(scenarios=["US"], weights=[[1.0]])
    rounds = (run.rounds[0], with_attention(run.rounds[1], ctr=alone))
    found = selected_weights(LoggedRun(run.results, rounds), "ctr", ["ES", "NL", "US"])
    nan = np.nan
    expected = np.asarray([[nan, nan, nan], [nan, 0.6, 0.4], [nan, nan, 1.0]])  # NL by its last round
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_matrix_per_task_of_a_method_that_attends(study: Study) -> None:
    (drawing,) = draw_attention(study)
    assert drawing.name == "attention-ctr-pf-msmtrec"
    axes = drawing.figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.70", "0.30", "0.40", "0.60"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["NL", "US"]
    assert drawing.alt == "Matrix of attention between NL and US; own weights from 0.60 to 0.70."


def test_the_matrix_is_the_mean_over_seeds_of_the_scenarios_that_have_the_task(study: Study) -> None:
    def logged(run: LoggedRun, weights: list[list[float]], *scenarios: str) -> LoggedRun:
        entry = with_attention(run.rounds[1], ctr=AttentionRound(scenarios=list(scenarios), weights=weights))
        return LoggedRun(run.results, (entry,))

    first, second = study.variants[3].runs
    runs = (logged(first, [[0.8, 0.2], [0.5, 0.5]], "NL", "US"), logged(second, [[1.0]], "NL"))
    (drawing,) = draw_attention(replace(study, variants=(LoggedVariant("mine", runs),)))
    assert [text.get_text() for text in drawing.figure.axes[0].texts] == ["0.90", "0.20", "0.50", "0.50"]
    (drawing,) = draw_attention(replace(study, variants=(LoggedVariant("mine", runs[1:]),)))
    assert [text.get_text() for text in drawing.figure.axes[0].texts] == ["1.00"]
