from __future__ import annotations

from pfmsmtrec_flwr.report.study import Study


def test_what_all_runs_have_in_common(study: Study) -> None:
    figures = study.figures
    assert (figures.scenarios, figures.tasks, figures.seeds) == (("NL", "US"), ("ctr", "ctcvr"), (0, 1))
    assert not study.same_seeds  # the floor has one
    assert study.notes == ["US: negatives are <sampled>"]
    assert set(study.versions) == {"python", "pfmsmtrec-flwr", "flwr", "torch", "numpy"}
    assert [results.seed for results in study.results] == [0, 0, 1, 0, 1, 0, 1]
