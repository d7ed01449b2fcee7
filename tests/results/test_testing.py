from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pfmsmtrec_flwr.results.testing import holm, interval, outcome, paired_t, wilcoxon

DIFFERENCES = [0.012, 0.004, -0.003, 0.009, 0.006]


def test_the_paired_t_test_is_scipys() -> None:
    ours = np.array([0.61, 0.62, 0.60, 0.63])
    others = np.array([0.60, 0.60, 0.61, 0.60])
    assert paired_t(list(ours - others)) == pytest.approx(stats.ttest_rel(ours, others).pvalue, rel=1e-12)


def test_the_paired_t_test_by_hand() -> None:
    # mean 1, standard deviation 1, three pairs: t = √3 at two degrees of freedom, p = 1 - √3 / √(2 + 3)
    assert paired_t([0.0, 1.0, 2.0]) == pytest.approx(1 - np.sqrt(3 / 5), rel=1e-12)


def test_the_paired_t_test_where_nothing_varies() -> None:
    assert paired_t([0.1]) is None
    assert paired_t([]) is None
    assert paired_t([0.0, 0.0]) == 1.0
    assert paired_t([0.61 - 0.6, 0.51 - 0.5, 0.41 - 0.4]) == 0.0  # equal but for rounding


def test_the_signed_rank_test_by_hand() -> None:
    # five pairs, all better: 2 of the 2⁵ signs are as extreme
    assert wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(2 / 32)
    # ranks of the worse: 1, so sums up to 1 are {}, {1}; twice 2 of 2⁵
    assert wilcoxon(DIFFERENCES) == pytest.approx(4 / 32)


def test_the_signed_rank_test_leaves_out_equal_pairs() -> None:
    assert wilcoxon([0.0, 0.1, 0.2, 0.3, 0.0, 0.4, 0.5]) == wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5])
    assert wilcoxon([0.0, 0.0, 0.0]) == 1.0
    assert wilcoxon([0.1]) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [0.03, None, 0.06, 0.06]
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_holm_corrects_upwards_and_keeps_the_order(values: list[float | None]) -> None:
    corrected = holm(values)
    pairs = [(p, q) for p, q in zip(values, corrected, strict=True) if p is not None]
    assert [q is None for q in corrected] == [p is None for p in values]
    for p, q in pairs:
        assert q is not None
        assert p <= q <= 1
        assert all(other <= q for least, other in pairs if least < p and other is not None)


def test_the_interval_is_students() -> None:
    low, high = interval(DIFFERENCES)
    expected = stats.t.interval(0.95, 4, loc=np.mean(DIFFERENCES), scale=stats.sem(DIFFERENCES))
    assert (low, high) == pytest.approx(expected, rel=1e-12)
    assert interval([0.25]) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([0.010, 0.011, 0.012], "win"),
        ([-0.010, -0.011, -0.012], "loss"),
        (DIFFERENCES, "tie"),
        ([0.0, 0.0], "tie"),
        ([0.001], "win"),
        ([-0.001], "loss"),
        ([0.0], "tie"),
        ([], None),
    ],
)
def test_a_win_is_an_interval_above_zero(differences: list[float], expected: str | None) -> None:
    assert outcome(differences) == expected
