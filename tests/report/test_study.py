from __future__ import annotations

from pathlib import Path

import pytest
from reported import RunMaker

from pfmsmtrec_flwr.report.reading import read_study
from pfmsmtrec_flwr.report.study import Study
from pfmsmtrec_flwr.results.schema import DrawnDifference, Interval


def test_what_all_runs_have_in_common(study: Study) -> None:
    figures = study.figures
    assert (figures.scenarios, figures.tasks, figures.seeds) == (("NL", "US"), ("ctr", "ctcvr"), (0, 1))
    assert not study.same_seeds  # the floor has one
    assert study.notes == ["US: negatives are <sampled>"]
    assert set(study.versions) == {"python", "pfmsmtrec-flwr", "flwr", "torch", "numpy"}
    assert [results.seed for results in study.results] == [0, 0, 1, 0, 1, 0, 1]


def test_the_headline_of_a_run_is_its_own_personal_model_with_its_margin(maker: RunMaker, tmp_path: Path) -> None:
    lag = DrawnDifference(
        reference="alone", task="ctr", difference=-0.1, interval=Interval(low=-0.15, high=-0.05), p=0.01
    )
    own = maker.results("pf-msmtrec", 0.7, reference=["alone", "pooled-mmoe"], consensus=True)
    maker.write(own.model_copy(update={"differences": [lag]}), tmp_path)
    maker.write(maker.results("alone", 0.6, family="alone"), tmp_path / "alone")
    maker.write(maker.results("pooled-mmoe", 0.5, family="pooled", parameters="global"), tmp_path / "pooled-mmoe")
    found = read_study(tmp_path).headline("ctr")
    assert found is not None and (found.line.variant, found.line.model) == ("pf-msmtrec", "personalised")
    assert found.auc.mean == pytest.approx(0.7)
    assert found.margin == "+0.1000 [+0.0500, +0.1500] above alone"
    assert found.above == ""


def test_a_headline_says_which_method_is_higher(maker: RunMaker, tmp_path: Path) -> None:
    own = maker.results("pf-msmtrec", 0.7, reference=["alone", "pooled-mmoe"])
    maker.write(own, tmp_path)
    maker.write(maker.results("alone", 0.75, family="alone"), tmp_path / "alone")
    maker.write(maker.results("pooled-mmoe", 0.8, family="pooled", parameters="global"), tmp_path / "pooled-mmoe")
    found = read_study(tmp_path).headline("ctr")
    assert found is not None and found.line.variant == "pf-msmtrec"
    assert found.margin == "no interval"
    assert found.above == "highest: pooled-mmoe 0.8000 (global)"


def test_a_run_of_a_global_method_is_its_own_headline(maker: RunMaker, tmp_path: Path) -> None:
    maker.write(maker.results("fedavg", 0.6, parameters="global", reference=["alone"]), tmp_path)
    maker.write(maker.results("alone", 0.7, family="alone"), tmp_path / "alone")
    found = read_study(tmp_path).headline("ctr")
    assert found is not None and (found.line.variant, found.above) == ("fedavg", "highest: alone 0.7000 (personalised)")


def test_in_a_comparison_the_best_personal_model_that_shares_precedes_higher_ones(maker: RunMaker) -> None:
    maker.write(maker.results("fedavg", 0.8, parameters="global"))
    maker.write(maker.results("alone", 0.7, family="alone"))
    found = read_study(maker.root).headline("ctr")
    assert found is not None and (found.line.variant, found.above) == ("fedavg", "")
    maker.write(maker.results("ditto", 0.6))
    found = read_study(maker.root).headline("ctr")
    assert found is not None and (found.line.variant, found.above) == ("ditto", "highest: fedavg 0.8000 (global)")
