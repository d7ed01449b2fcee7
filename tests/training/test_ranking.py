"""Areas under the ROC curve: scikit-learn's, exact fractions rounded once, and those within groups by mean ranks."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.training import ranking
from pfmsmtrec_flwr.training.ranking import area_under_curve, grouped_areas

Drawn = tuple[NDArray[np.uint8], NDArray[np.floating], NDArray[np.int64]]
"""Labels, scores and groups of rows."""


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    """Rows of both classes, with many equal scores or hardly any, negative ones and zeros of either sign."""
    rows = draw(st.integers(2, 400))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    scores = generator.normal(size=rows).round(draw(st.sampled_from([0, 1, 2, 9])))
    scores[generator.random(rows) < 0.1] = -0.0
    labels = (generator.random(rows) < draw(st.floats(0.01, 0.99))).astype(np.uint8)
    labels[:2] = 0, 1
    groups = generator.integers(0, draw(st.integers(1, 60)), rows) * draw(st.sampled_from([1, -7, 2**50]))
    return labels, scores.astype(draw(st.sampled_from([np.float32, np.float64]))), groups


def by_mean_ranks(labels: NDArray[np.uint8], scores: NDArray[np.floating], groups: NDArray[np.int64]) -> pd.Series:
    """Areas by the Mann-Whitney U, in which equal scores share a mean rank; not a number for groups of one class."""
    frame = pd.DataFrame({"group": groups, "label": labels.astype(np.int64), "score": scores})
    frame["rank"] = frame.groupby("group")["score"].rank() * frame["label"]
    sums = frame.groupby("group").agg(rows=("label", "size"), positives=("label", "sum"), ranks=("rank", "sum"))
    positives = sums["positives"]
    pairs = positives * (sums["rows"] - positives)
    return (sums["ranks"] - positives * (positives + 1) / 2) / pairs.where(pairs > 0)


@given(drawn())
def test_the_area_is_the_exact_share_rounded_once(rows: Drawn) -> None:
    labels, scores, _ = rows
    positive, negative = scores[labels == 1, None], scores[labels == 0]
    twice_won = int(2 * np.count_nonzero(positive > negative) + np.count_nonzero(positive == negative))
    area = area_under_curve(labels, scores)
    assert area == float(Fraction(twice_won, 2 * positive.size * negative.size))
    assert area == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)


@given(drawn())
def test_the_areas_within_groups_are_those_of_the_mean_ranks_to_the_bit(rows: Drawn) -> None:
    groups = rows[2]
    expected = by_mean_ranks(*rows).dropna()
    found = grouped_areas(*rows)
    np.testing.assert_array_equal(found.areas, expected.to_numpy())
    np.testing.assert_array_equal(found.rows, [np.count_nonzero(groups == group) for group in expected.index])


@given(drawn(), st.integers(1, 60), st.integers(1, 5), st.integers(1, 9))
def test_parts_and_pieces_change_nothing(rows: Drawn, part: int, sample: int, piece: int) -> None:
    whole, within = area_under_curve(*rows[:2]), grouped_areas(*rows)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PART": part, "SAMPLE": sample, "PIECE": piece}.items():
            patch.setattr(ranking, name, value)
        assert area_under_curve(*rows[:2]) == whole
        found = grouped_areas(*rows)
        own = int(rows[2][0])
        rest = rows[2] != own
        without = grouped_areas(*(each[rest] for each in rows))
        np.testing.assert_array_equal(grouped_areas(*rows, outside=own).areas, without.areas)
    np.testing.assert_array_equal(found.areas, within.areas)
    np.testing.assert_array_equal(found.rows, within.rows)


@pytest.mark.parametrize("score", [0.0, 0.5])
def test_memory_does_not_grow_with_the_rows(score: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # half of the rows share a score, and so no part divides them
    monkeypatch.setattr(ranking, "PART", 1 << 12)
    monkeypatch.setattr(ranking, "PIECE", 1 << 12)
    generator = np.random.default_rng(0)
    peaks: list[float] = []
    for rows in (1 << 16, 1 << 19):
        scores = generator.random(rows, dtype=np.float32)
        scores[::2] = score
        labels = generator.integers(0, 2, rows).astype(np.uint8)
        groups = generator.integers(0, rows // 20, rows)
        tracemalloc.start()
        area_under_curve(labels, scores)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
        assert len(grouped_areas(labels, scores, groups).areas) > rows / 25
        peaks.append(tracemalloc.get_traced_memory()[1] - 16 * rows / 20)  # the areas and sizes of the groups
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[0]
    assert peaks[3] < 1.5 * peaks[1] + 16 * rows / 20


def test_rows_outside_belong_to_no_group() -> None:
    labels, scores = np.array([0, 1, 1, 0], dtype=np.uint8), np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32)
    groups = np.array([-1, 5, -1, 5])
    assert grouped_areas(labels, scores, groups, outside=-1).areas.tolist() == [0.0]
    assert grouped_areas(labels, scores, groups).areas.tolist() == [1.0, 0.0]


def test_many_rows() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random(300_000).astype(np.float32)
    labels = (generator.random(300_000) < scores).astype(np.uint8)
    assert area_under_curve(labels, scores) == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [1, 20, 30])
def test_scores_of_which_many_are_not_finite_have_no_area(
    odd: float, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "PART", 4)
    scores = np.linspace(-1, 1, 40, dtype=np.float32)
    scores[:rows] = odd
    with pytest.raises(ValueError, match="not finite"):
        area_under_curve(np.arange(40, dtype=np.uint8) % 2, scores)


def test_the_largest_score_may_be_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "PART", 4)
    scores = np.full(40, np.finfo(np.float32).max)
    scores[:10] = -1
    labels = (scores > 0).astype(np.uint8)
    assert area_under_curve(labels, scores) == 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_has_no_place(odd: float) -> None:
    labels, scores = np.array([0, 1], dtype=np.uint8), np.array([0.5, odd], dtype=np.float32)
    with pytest.raises(ValueError, match="not finite"):
        area_under_curve(labels, scores)
    with pytest.raises(ValueError, match="not finite"):
        grouped_areas(labels, scores, np.zeros(2, dtype=np.int64))


def test_no_rows_have_no_groups() -> None:
    nothing = grouped_areas(np.empty(0, np.uint8), np.empty(0, np.float32), np.empty(0, np.int64))
    assert not len(nothing.areas)
    assert not len(nothing.rows)
