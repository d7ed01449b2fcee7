"""Intervals of a run from the AUC of its scenarios in draws of test users."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.drawn import DrawnAuc, drawn_differences, with_intervals, write_draws
from pfmsmtrec_flwr.results.schema import Examples, Interval, RunResults, ScenarioResult, TaskResult, results_from
from pfmsmtrec_flwr.results.writer import read_results, write_results

SIZES = Examples(train=80, validation=10, test=10)


def run(method: str, **scenarios: float | None) -> RunResults:
    """Return results with the AUC of each scenario in its only task."""
    made = {
        name: ScenarioResult(
            examples=SIZES,
            selected_round=1,
            tasks={"ctr": TaskResult(auc=auc, logloss=0.3, positives=2, examples=10)},
        )
        for name, auc in scenarios.items()
    }
    return results_from(method=method, dataset="shop", seed=0, rounds=1, scenarios=made)


def drawn(**scenarios: NDArray[np.floating]) -> DrawnAuc:
    return {name: {"ctr": auc} for name, auc in scenarios.items()}


def noise(seed: int, center: float = 0.6) -> NDArray[np.float64]:
    return center + 0.02 * np.random.default_rng(seed).normal(size=300)


def ends(auc: NDArray[np.floating]) -> Interval:
    low, high = np.quantile(auc, [0.025, 0.975])
    return Interval(low=low, high=high)


def test_every_auc_and_the_mean_over_scenarios_have_an_interval() -> None:
    nl, us = noise(0), noise(1, 0.7)
    found = with_intervals(run("fedavg", NL=0.6, US=0.7), drawn(NL=nl, US=us))
    assert found.draws == 300
    assert found.scenarios["NL"].tasks["ctr"].interval == ends(nl)
    assert found.scenarios["US"].tasks["ctr"].interval == ends(us)
    mean = found.macro["ctr"].interval
    assert mean == ends((nl + us) / 2)
    assert mean.high - mean.low < 0.8 * (ends(nl).high - ends(nl).low)  # independent rows: narrower than one scenario


def test_a_scenario_without_an_auc_does_not_count_and_a_draw_without_one_neither() -> None:
    nl, us = noise(0), np.full(300, math.nan)
    found = with_intervals(run("fedavg", NL=0.6, US=None), drawn(NL=nl, US=us))
    assert found.scenarios["US"].tasks["ctr"].interval is None
    assert found.macro["ctr"].interval == ends(nl)
    some = nl.copy()
    some[:100] = math.nan
    found = with_intervals(run("fedavg", NL=0.6), drawn(NL=some))
    assert found.macro["ctr"].interval == ends(nl[100:])


def test_without_draws_nothing_changes(tmp_path: Path) -> None:
    results = run("fedavg", NL=0.6)
    assert with_intervals(results, {}) == results
    write_draws({}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_differences_are_paired_by_draw() -> None:
    nl, us = noise(0), noise(1)
    own, other = run("ours", NL=0.6, US=0.6), run("alone", NL=0.59, US=0.58)
    (found,) = drawn_differences(own, drawn(NL=nl, US=us), [(other, drawn(NL=nl - 0.01, US=us - 0.02))])
    assert (found.reference, found.task) == ("alone", "ctr")
    assert found.difference == pytest.approx(-0.015)
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.015, -0.015))  # what both share is no noise
    (loose,) = drawn_differences(own, drawn(NL=nl, US=us), [(other, drawn(NL=noise(2), US=noise(3)))])
    assert loose.interval.high - loose.interval.low > 0.03
    assert found.p < 1e-6 < loose.p


def test_a_reference_that_lacks_a_scenario_has_no_difference() -> None:
    own, other = run("ours", NL=0.6, US=0.6), run("alone", NL=0.6)
    assert not list(drawn_differences(own, drawn(NL=noise(0), US=noise(1)), [(other, drawn(NL=noise(0)))]))


def test_results_and_draws_in_files(tmp_path: Path) -> None:
    auc = drawn(US=np.array([0.25, math.nan], np.float32), NL=np.array([0.5, 0.12345678], np.float32))
    write_draws(auc, tmp_path / "new")
    text = (tmp_path / "new" / "draws.json").read_text()
    assert text == '{"NL": {"ctr": [0.5, 0.123457]}, "US": {"ctr": [0.25, null]}}\n'
    results = with_intervals(run("ours", NL=0.6), drawn(NL=noise(0)))
    differences = list(drawn_differences(results, drawn(NL=noise(0)), [(run("b", NL=0.5), drawn(NL=noise(5)))]))
    results = results.model_copy(update={"differences": differences})
    write_results(results, tmp_path)
    assert read_results(tmp_path) == results
    assert json.loads((tmp_path / "results.json").read_text())["differences"][0]["reference"] == "b"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_draws(auc, tmp_path / "file")
