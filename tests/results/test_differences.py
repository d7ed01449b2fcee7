"""Intervals of differences: coverage on made-up rows, the lead, corrections, and what has no figure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.results.bootstrap import Bootstrap
from pfmsmtrec_flwr.results.differences import bootstrap_of, paired_difference
from pfmsmtrec_flwr.results.replicates import LabelledRows, Prediction, Replicates
from pfmsmtrec_flwr.results.testing import holm

USERS, ROWS = 80, 5
STRENGTHS = {"ours": 1.0, "alone": 0.7}
SCENARIOS = ("A", "B")


def scores(
    labels: NDArray[np.uint8], units: NDArray[np.int64], strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return scores whose AUC is known: a part of the label, of the user and of chance."""
    of_user = rng.normal(size=USERS)[units]
    made: NDArray[np.float32] = (strength * labels[:, 0] + of_user + rng.normal(size=len(labels))).astype(np.float32)
    return made[:, None]


def replicates(seed: int, *, draws: int = 200, seeds: int = 1, strengths: dict[str, float] | None = None) -> Replicates:
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(USERS), ROWS)
    rows = {
        name: LabelledRows(("ctr",), (rng.random((len(units), 1)) < 0.4).astype(np.uint8), units) for name in SCENARIOS
    }
    predictions = [
        Prediction(variant, number, name, scores(own.labels, own.units, strength, rng))
        for variant, strength in (strengths or STRENGTHS).items()
        for number in range(seeds)
        for name, own in rows.items()
    ]
    return Replicates(rows, predictions, draws=draws, seed=seed)


def interval(found: Bootstrap) -> tuple[float, float]:
    difference = found.difference("alone", "ours", "ctr")
    assert difference is not None
    return difference.low, difference.high


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    true = {name: float(stats.norm.cdf(strength / 2)) for name, strength in STRENGTHS.items()}  # variances 1 and 1
    difference = true["alone"] - true["ours"]
    found = [interval(bootstrap_of(replicates(seed), "ours", "alone", "users")) for seed in range(150)]
    covered = np.mean([low <= difference <= high for low, high in found])
    assert 0.89 <= covered <= 0.99  # 0.95 with a standard error of 0.018


def test_the_figure_is_the_mean_over_scenarios_and_seeds() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 2)) < 0.5).astype(np.uint8)
    rows = {name: LabelledRows(("ctr", "like"), labels, np.arange(40)) for name in SCENARIOS}
    predictions = [
        Prediction(variant, seed, name, rng.random((40, 2)).astype(np.float32))
        for variant in ("ours", "alone")
        for seed in (0, 1)
        for name in SCENARIOS
    ]
    found = bootstrap_of(Replicates(rows, predictions, draws=20, seed=0), "ours", "alone", "rows")
    means = {
        variant: np.mean(
            [roc_auc_score(labels[:, 1], each.probabilities[:, 1]) for each in predictions if each.variant == variant]
        )
        for variant in ("ours", "alone")
    }
    difference = found.difference("alone", "ours", "like")
    assert difference is not None
    assert difference.difference == pytest.approx(means["alone"] - means["ours"])
    assert (difference.seeds, found.units, found.draws, found.unit) == (2, 40, 20, "rows")
    tested = [each for each in found.differences if (each.other, each.scenario) == ("ours", "")]
    assert [each.task for each in tested] == ["ctr", "like"]
    assert [each.p_holm for each in tested] == holm([each.p for each in tested])
    assert found.smallest["like"] == pytest.approx(2.8 * difference.error)
    assert all(each.p_holm is None for each in found.differences if each not in tested)


def test_a_variant_is_compared_over_the_seeds_that_both_have() -> None:
    labels = np.array([[0], [1], [0], [1]], dtype=np.uint8)
    rows = {"A": LabelledRows(("ctr",), labels, np.arange(4))}
    good, bad = (np.array(own, dtype=np.float32)[:, None] for own in ([0, 1, 0, 1], [1, 0, 1, 0]))
    predictions = [
        Prediction("ours", 0, "A", good),
        Prediction("ours", 1, "A", bad),
        Prediction("alone", 0, "A", bad),
        Prediction("late", 2, "A", bad),
    ]
    found = bootstrap_of(Replicates(rows, predictions, draws=10, seed=0), "ours", "alone", "rows")
    difference = found.difference("alone", "ours", "ctr")
    assert difference is not None
    assert (difference.difference, difference.seeds) == (-1.0, 1)
    assert (difference.low, difference.high, difference.error, difference.p) == (-1.0, -1.0, 0.0, 0.0)
    assert found.difference("late", "ours", "ctr") is None


def test_those_who_cannot_be_told_from_the_first_lead_with_it() -> None:
    strengths = {"weak": 0.0, "one": 1.5, "other": 1.5}
    found = bootstrap_of(replicates(3, strengths=strengths), "one", "weak", "users")
    assert set(found.leading("ctr")) == {"one", "other"}
    assert set(found.leading("ctr", "A")) == {"one", "other"}
    assert found.leading("like") == ()
    level = bootstrap_of(replicates(3, strengths={"one": 1.0, "other": 1.0}), "one", "weak", "users")
    assert level.leading("ctr") == ()
    assert bootstrap_of(replicates(3, strengths={"one": 1.0}), "one", "weak", "users").differences == []


def test_a_scenario_of_one_class_counts_for_nobody() -> None:
    labels = {"A": np.array([[0], [1], [0], [1]], dtype=np.uint8), "B": np.zeros((4, 1), np.uint8)}
    rows = {name: LabelledRows(("ctr",), own, np.arange(4)) for name, own in labels.items()}
    score = np.array([[0.1], [0.2], [0.3], [0.4]], dtype=np.float32)
    predictions = [Prediction(variant, 0, name, score) for variant in ("ours", "alone") for name in rows]
    made = Replicates(rows, predictions, draws=10, seed=0)
    assert made.counted("ctr") == ("A",)
    assert made.mean("ours", "ctr", ["A"], {0})[0] == 0.75
    difference = bootstrap_of(made, "ours", "alone", "rows").difference("alone", "ours", "ctr")
    assert difference is not None
    assert (difference.difference, difference.p) == (0.0, 1.0)


def test_draws_without_a_figure_do_not_count() -> None:
    known = np.array([0.1, 0.0, 0.2, math.nan, 0.1])
    found, without = paired_difference(known), paired_difference(np.array([0.1, 0.0, 0.2, 0.1]))
    assert found == without
    assert found is not None
    difference, low, high, error, p = found
    assert difference == 0.1
    assert error == pytest.approx(0.1)
    assert 0.0 <= low < high <= 0.2
    assert p == pytest.approx(2 * stats.norm.sf(1.0))
    assert paired_difference(np.array([0.1, math.nan, math.nan])) is None


@pytest.mark.parametrize("weights", [1 << 26, 7 * USERS, 1])
def test_draws_do_not_depend_on_how_many_are_made_at_once(weights: int, monkeypatch: pytest.MonkeyPatch) -> None:
    many = replicates(1, draws=600)
    monkeypatch.setattr("pfmsmtrec_flwr.results.replicates._WEIGHTS", weights)
    few = replicates(1, draws=40)
    whole = many.mean("ours", "ctr", SCENARIOS, {0})
    np.testing.assert_allclose(few.mean("ours", "ctr", SCENARIOS, {0}), whole[:41], rtol=1e-12)
    assert not np.isnan(whole).any()
