from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.report.study import Run, Spread, Study, Variant, spread


def test_a_spread_is_the_mean_and_the_sample_standard_deviation() -> None:
    assert spread([1.0, 2.0, 6.0]) == Spread(3.0, math.sqrt(7.0), 3)
    assert spread([0.5]) == Spread(0.5, None, 1)


@pytest.mark.parametrize("figures", [[], [None], [0.5, None]])
def test_a_figure_that_a_seed_lacks_has_no_mean(figures: list[float | None]) -> None:
    assert spread(figures) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9), st.floats(-1e3, 1e3))
def test_a_shift_moves_the_mean_alone(figures: list[float], shift: float) -> None:
    one, other = spread(figures), spread([figure + shift for figure in figures])
    assert one and other and one.sd is not None and other.sd is not None
    assert other.mean == pytest.approx(one.mean + shift, abs=1e-6)
    assert other.sd == pytest.approx(one.sd, rel=1e-6, abs=1e-6)


def test_a_consensus_is_a_line_of_its_own(study: Study) -> None:
    assert [(entry.label, entry.model) for entry in study.entries] == [
        ("base-rate", "global"),
        ("alone", "personalised"),
        ("fedavg", "global"),
        ("pf-msmtrec", "personalised"),
        ("pf-msmtrec, consensus", "consensus"),
    ]


def test_figures_and_macro_figures_over_seeds(study: Study) -> None:
    ours, consensus = study.entries[3:]
    figure, macro = ours.figure("NL", "ctr", "auc"), study.macro(ours, "ctr", "auc")
    assert figure and figure.mean == pytest.approx(0.8) and figure.sd == pytest.approx(0.02 / math.sqrt(2))
    assert macro and macro.mean == pytest.approx(0.7) and macro.count == 2
    common = study.macro(consensus, "ctr", "auc")
    assert common and common.mean == pytest.approx(0.65)


def test_a_scenario_of_one_class_counts_in_no_mean(study: Study) -> None:
    assert study.one_class == (("US", "ctcvr"),)
    assert study.defined("ctcvr", "auc") == ("NL",)
    macro = study.macro(study.entries[3], "ctcvr", "auc")
    assert macro and macro.mean == pytest.approx(0.7)
    assert study.defined("ctcvr", "logloss") == ("NL", "US")


def test_scenarios_are_in_the_order_of_their_numbers(study: Study) -> None:
    run = study.variants[0].runs[0]
    some = run.results.scenarios["NL"]
    results = run.results.model_copy(update={"scenarios": dict.fromkeys(("tab10", "tab2", "1", "US"), some)})
    made = Study("tabs", (Variant("x", (Run(results),)),), study.finished)
    assert made.scenarios == ("1", "US", "tab2", "tab10")


def test_what_all_runs_have_in_common(study: Study) -> None:
    assert (study.scenarios, study.tasks, study.seeds) == (("NL", "US"), ("ctr", "ctcvr"), (0, 1))
    assert not study.same_seeds  # the floor has one
    assert study.notes == ("US: negatives are <sampled>",)
    assert study.attainable("NL", "ctr", "auc") == 0.875
    assert study.attainable("NL", "ctr", "gauc") is None
    assert study.attainable_macro("ctcvr", "auc") is None
