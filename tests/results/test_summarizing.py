from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from compared import finished_of, run_results
from scipy import stats

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.means import Spread, spread
from pfmsmtrec_flwr.results.summarizing import Finished, relative_improvement, summarize
from pfmsmtrec_flwr.results.summary import Against, Joined, Summary, TaskSummary, read_summary, write_summary

Auc = Mapping[str, Mapping[str, float | None]]

ALONE = {0: {"A": 0.60, "B": 0.56}, 1: {"A": 0.62, "B": 0.55}, 2: {"A": 0.61, "B": 0.57}}
OURS = {0: {"A": 0.65, "B": 0.56}, 1: {"A": 0.66, "B": 0.57}, 2: {"A": 0.66, "B": 0.56}}
OTHER = {0: {"A": 0.63, "B": 0.58}, 1: {"A": 0.64, "B": 0.58}, 2: {"A": 0.63, "B": 0.59}}


def finished(method: str, by_seed: Mapping[int, Mapping[str, float | None]], name: str = "") -> Finished:
    runs = {
        seed: run_results(method, seed, {scenario: {"ctr": auc} for scenario, auc in own.items()})
        for seed, own in by_seed.items()
    }
    return finished_of(name or method, runs)


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarize([finished("alone", ALONE), finished("ours", OURS), finished("other", OTHER)], "ours")


def task(summary: Summary, variant: str, name: str = "ctr") -> TaskSummary:
    line = summary.line(variant)
    assert line is not None
    return line.tasks[name]


def values(found: Spread | None) -> tuple[float, float, int]:
    """Return mean, standard deviation (0 of one seed) and count."""
    assert found is not None
    return found.mean, found.sd or 0.0, found.count


def against(summary: Summary, variant: str) -> Against:
    found = task(summary, variant).against
    assert found is not None
    return found


def test_means_are_over_scenarios_then_over_seeds(summary: Summary) -> None:
    own = task(summary, "alone")
    # macro: 0.58, 0.585, 0.59
    assert values(own.auc) == pytest.approx((0.585, 0.005, 3))
    assert values(own.logloss) == pytest.approx((0.415, 0.005, 3))
    assert values(own.gauc) == pytest.approx((0.485, 0.005, 3))
    assert values(own.gauc_coverage) == pytest.approx((0.5, 0.0, 3))
    assert own.worst is not None
    assert own.worst.scenario == "B"
    assert own.worst.auc == pytest.approx(0.56)
    line = summary.line("alone")
    assert line is not None
    assert values(line.scenarios["A"]["ctr"]) == pytest.approx((0.61, 0.01, 3))
    assert values(line.seconds) == pytest.approx((2.0, 0.0, 3))


def test_improvement_is_relative_to_training_alone(summary: Summary) -> None:
    assert task(summary, "alone").improvement == 0
    # macro of ours: 0.605, 0.615, 0.61
    assert task(summary, "ours").improvement == pytest.approx(0.11 / 0.085 - 1)
    assert relative_improvement(0.6, 0.5) is None
    assert relative_improvement(None, 0.6) is None


def test_the_tests_are_paired_with_the_reference(summary: Summary) -> None:
    assert task(summary, "ours").against is None
    alone = against(summary, "alone")
    differences = [0.58 - 0.605, 0.585 - 0.615, 0.59 - 0.61]
    assert alone.difference == pytest.approx(-0.025)
    p = stats.ttest_1samp(differences, 0).pvalue
    assert alone.t_test == pytest.approx(p)
    q = against(summary, "other").t_test
    assert q is not None
    assert alone.t_test_holm == pytest.approx(min(2 * min(p, q), 1) if p < q else max(p, 2 * q))
    pairs = [0.60 - 0.65, 0.62 - 0.66, 0.61 - 0.66, 0.56 - 0.56, 0.55 - 0.57, 0.57 - 0.56]
    assert alone.wilcoxon == pytest.approx(stats.wilcoxon([pair for pair in pairs if pair]).pvalue)


def test_wins_and_losses_are_counted_by_scenario(summary: Summary) -> None:
    # A: all seeds worse by 0.04 to 0.05; B: 0, -0.02, +0.01
    alone = against(summary, "alone")
    assert (alone.win, alone.tie, alone.loss, alone.seeds) == (0, 1, 1, 3)
    # A: -0.02, -0.02, -0.03; B: 0.02, 0.01, 0.03
    other = against(summary, "other")
    assert (other.win, other.tie, other.loss) == (0, 1, 1)


def test_one_class_is_left_out_of_every_mean_and_said() -> None:
    ours: Auc = {"A": {"ctr": 0.6, "cvr": 0.7}, "B": {"ctr": 0.7, "cvr": None}, "C": {"ctr": 0.5}}
    other: Auc = {"A": {"ctr": 0.5, "cvr": 0.6}, "B": {"ctr": 0.5, "cvr": None}, "C": {"ctr": 0.5}}
    made = [finished_of(name, {0: run_results(name, 0, auc)}) for name, auc in (("p", ours), ("q", other))]
    summary = summarize(made, "p")
    assert values(task(summary, "p", "cvr").auc) == pytest.approx((0.7, 0.0, 1))
    assert values(task(summary, "q", "cvr").auc) == pytest.approx((0.6, 0.0, 1))
    assert values(task(summary, "p").auc) == pytest.approx((0.6, 0.0, 1))
    assert summary.notes == [
        "B, cvr: one class in the test rows, so no AUC; left out of every mean",
        "one seed: no test, and wins and losses against p are by the sign of the difference",
    ]
    line = summary.line("p")
    assert line is not None
    assert line.scenarios == {
        "A": {"ctr": _one(0.6), "cvr": _one(0.7)},
        "B": {"ctr": _one(0.7), "cvr": None},
        "C": {"ctr": _one(0.5)},
    }
    found = task(summary, "q").against
    assert found is not None
    assert (found.win, found.tie, found.loss, found.t_test) == (0, 1, 2, None)
    assert found.wilcoxon == pytest.approx(0.5)


def _one(value: float) -> Spread:
    return Spread(mean=value, sd=None, count=1)


def test_a_figure_that_others_have_is_not_left_out_but_missed() -> None:
    good = finished("good", {0: {"A": 0.6, "B": 0.7}, 1: {"A": 0.6, "B": 0.7}})
    bad = finished("bad", {0: {"A": 0.6, "B": None}, 1: {"A": 0.6, "B": 0.9}})
    summary = summarize([good, bad], "good")
    assert values(task(summary, "good").auc) == pytest.approx((0.65, 0.0, 2))
    assert task(summary, "bad").auc is None
    assert task(summary, "bad").worst is None
    found = against(summary, "bad")
    assert (found.win, found.tie, found.loss, found.t_test, found.wilcoxon) == (0, 1, 0, None, None)


def test_missing_seeds_are_said_and_pairs_are_of_common_seeds() -> None:
    part = {seed: OTHER[seed] for seed in (0, 2)}
    summary = summarize([finished("ours", OURS), finished("other", part)], "ours")
    assert summary.notes == ["other: no run with seed 1; its means are over the others"]
    assert against(summary, "other").seeds == 2
    auc = task(summary, "other").auc
    assert auc is not None
    assert auc.count == 2


def test_the_consensus_has_a_line_of_its_own() -> None:
    runs = {
        seed: run_results(
            "ours", seed, {"A": {"ctr": 0.7}}, consensus={"A": {"ctr": 0.6}}, traffic=(3_000_000, 500_000)
        )
        for seed in (0, 1)
    }
    summary = summarize([finished_of("ours", runs), finished("other", {0: {"A": 0.5}})], "ours")
    assert [(line.variant, line.which) for line in summary.lines] == [
        ("ours", "model"),
        ("ours", "consensus"),
        ("other", "model"),
    ]
    line = summary.line("ours", "consensus")
    assert line is not None
    assert values(line.tasks["ctr"].auc) == pytest.approx((0.6, 0.0, 2))
    assert line.tasks["ctr"].against is None
    assert values(line.megabytes) == pytest.approx((3.5, 0.0, 2))
    assert {(each.which, each.auc) for each in summary.figures if each.variant == "ours"} == {
        ("model", 0.7),
        ("consensus", 0.6),
    }


def test_without_the_reference_nothing_is_tested() -> None:
    summary = summarize([finished("ours", OURS), finished("other", OTHER)], "pf-msmtrec")
    assert all(line.tasks["ctr"].against is None for line in summary.lines)
    assert task(summary, "ours").improvement is None


def test_a_spread_needs_every_seed() -> None:
    assert values(spread([1.0, 3.0])) == pytest.approx((2.0, 2**0.5, 2))
    assert spread([1.0, None]) is None
    assert spread([]) is None


def test_the_folders_of_the_runs_are_told() -> None:
    ours = finished("ours", OURS, "ours: no pull")
    counted = replace(ours, folders={2: "runs/b/seed2-b", 0: "runs/b/seed0-a"})
    told = summarize([finished("alone", ALONE), counted], "ours").runs
    assert [(run.variant, run.seed, run.folder) for run in told] == [
        ("ours: no pull", 0, "runs/b/seed0-a"),
        ("ours: no pull", 2, "runs/b/seed2-b"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"summary\.json is not valid JSON \(.*\): run the comparison again$"),
        ("[]", r"summary\.json: key '\(document\)'"),
        ('{"dataset": "made"}', r"summary\.json: key 'reference' is missing"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    assert read_summary(tmp_path) is None
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_summary(tmp_path)


def test_the_file_says_all(summary: Summary, tmp_path: Path) -> None:
    joined = Joined(
        method="ours", scenario="A", share=0.05, start="scratch", task="ctr", seed=0, auc=0.5, logloss=float("nan")
    )
    written = summary.model_copy(update={"joined": [joined]})
    path = write_summary(written, tmp_path)
    assert path.name == "summary.json"
    assert read_summary(tmp_path) == written
    assert joined.logloss is None
