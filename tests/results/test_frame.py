from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from compared import run_results
from reported import RunMaker

from pfmsmtrec_flwr.results.frame import Figures, Line
from pfmsmtrec_flwr.results.schema import RunResults


@pytest.fixture(scope="module")
def figures() -> Figures:
    return RunMaker(Path()).figures()


def made(method: str, *auc: Mapping[str, float | None], logloss: Mapping[str, float | None] | None = None) -> Figures:
    return Figures({method: [run(method, seed, own, logloss or own) for seed, own in enumerate(auc)]})


def run(
    method: str, seed: int, auc: Mapping[str, float | None], logloss: Mapping[str, float | None] | None = None
) -> RunResults:
    """Return results of one task; log loss is 1 - AUC where none is passed."""
    results = run_results(method, seed, {scenario: {"ctr": value} for scenario, value in auc.items()})
    if logloss is None:
        return results
    scenarios = {
        name: own.model_copy(
            update={"tasks": {"ctr": own.tasks["ctr"].model_copy(update={"logloss": logloss.get(name)})}}
        )
        for name, own in results.scenarios.items()
    }
    return results.model_copy(update={"scenarios": scenarios})


def test_a_consensus_is_a_line_of_its_own(figures: Figures) -> None:
    assert [(line.label, line.model) for line in figures.lines] == [
        ("base-rate", "global"),
        ("alone", "personalised"),
        ("fedavg", "global"),
        ("pf-msmtrec", "personalised"),
        ("pf-msmtrec (consensus)", "consensus"),
    ]
    assert [line.variant for line in figures.models] == ["base-rate", "alone", "fedavg", "pf-msmtrec"]


def test_the_frame_is_long(figures: Figures) -> None:
    frame = figures.frame.set_index([*figures.frame.columns[:-1]])["value"]
    assert list(figures.frame.columns) == ["variant", "model", "seed", "metric", "task", "scenario", "value"]
    assert frame["alone", "personalised", 1, "auc", "ctr", "NL"] == pytest.approx(0.71)
    assert frame["fedavg", "global", 0, "up_megabytes", "", ""] == 2.0
    assert frame["alone", "personalised", 0, "validation", "", "US"] == 90
    assert math.isnan(frame["alone", "personalised", 0, "auc", "ctcvr", "US"])
    assert frame["best attainable", "true probabilities", 0, "logloss", "ctr", "US"] == 0.125


def test_figures_and_means_over_scenarios_over_seeds(figures: Figures) -> None:
    ours, consensus = figures.lines[3:]
    figure, macro = figures.spread(ours, "auc", "ctr", "NL"), figures.spread(ours, "auc", "ctr")
    assert figure and figure.mean == pytest.approx(0.8) and figure.sd == pytest.approx(0.02 / math.sqrt(2))
    assert macro and macro.mean == pytest.approx(0.7) and macro.count == 2
    common = figures.spread(consensus, "auc", "ctr")
    assert common and common.mean == pytest.approx(0.65)
    assert figures.values(ours, "auc", "ctr").to_dict() == pytest.approx({0: 0.69, 1: 0.71})


def test_a_scenario_of_one_class_counts_in_no_mean(figures: Figures) -> None:
    assert figures.one_class == (("US", "ctcvr"),)
    assert figures.counted("auc", "ctcvr") == ("NL",)
    macro = figures.spread(figures.lines[3], "auc", "ctcvr")
    assert macro and macro.mean == pytest.approx(0.7)
    assert figures.counted("logloss", "ctcvr") == ("NL", "US")


def test_a_scenario_counts_if_any_seed_of_any_line_has_the_figure() -> None:
    figures = made("m", {"A": 0.6, "B": None}, {"A": 0.6, "B": 0.7})
    assert figures.counted("auc", "ctr") == ("A", "B")
    assert figures.values(figures.lines[0], "auc", "ctr").to_list() == pytest.approx([math.nan, 0.65], nan_ok=True)
    assert figures.spread(figures.lines[0], "auc", "ctr") is None


def test_a_diverged_scenario_does_not_drop_out_of_the_mean_log_loss() -> None:
    figures = made("m", {"A": 0.6, "B": 0.7}, logloss={"A": 0.5, "B": None})
    assert figures.counted("logloss", "ctr") == ("A", "B")
    assert figures.spread(figures.lines[0], "logloss", "ctr") is None
    assert figures.spread(figures.lines[0], "auc", "ctr") is not None


def test_a_run_without_a_scenario_lacks_its_figure() -> None:
    figures = Figures({"m": [run("m", 0, {"A": 0.6, "B": 0.7})], "n": [run("n", 0, {"A": 0.6})]})
    whole, part = figures.lines
    assert figures.spread(whole, "auc", "ctr") is not None
    assert figures.spread(part, "auc", "ctr") is None
    assert figures.spread(part, "auc", "ctr", "B") is None
    assert figures.spread(part, "auc", "nothing") is None


def test_scenarios_are_in_the_order_of_their_numbers() -> None:
    names = ("tab10", "tab2", "1", "US")
    assert made("m", dict.fromkeys(names, 0.5)).scenarios == ("1", "US", "tab2", "tab10")


def test_the_best_comes_first_and_equals_stay_in_their_order(figures: Figures) -> None:
    assert [line.label for line, _ in figures.ranked("ctr")] == [
        "pf-msmtrec",
        "fedavg",
        "pf-msmtrec (consensus)",
        "alone",
        "base-rate",
    ]


def test_what_all_runs_have_in_common(figures: Figures) -> None:
    assert (figures.scenarios, figures.tasks, figures.seeds) == (("NL", "US"), ("ctr", "ctcvr"), (0, 1))
    assert figures.having("ctr") == ("NL", "US")
    assert figures.fact("positives", "ctcvr", "NL") == 7
    assert figures.fact("positives", "ctcvr", "nowhere") is None


def test_the_best_attainable_figures_are_those_of_the_true_probabilities(figures: Figures) -> None:
    best = figures.best("auc", "ctr", "NL")
    assert best and (best.mean, best.sd) == (0.875, None)
    assert figures.best("gauc", "ctr", "NL") is None
    assert figures.best("auc", "ctcvr") is None
    assert made("m", {"A": 0.5}).best("auc", "ctr", "A") is None


def test_costs_are_figures_of_the_whole_run(figures: Figures) -> None:
    sent = [figures.spread(line, "megabytes") for line in figures.models]
    assert [own.mean for own in sent if own] == [0.0, 0.0, 5.0, 5.0]
    unknown = Line("nobody", "global", "floor")
    with pytest.raises(KeyError):
        figures.values(unknown, "megabytes")
