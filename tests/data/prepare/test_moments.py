"""Moments over chunks, and what is done with a missing or constant column."""

from __future__ import annotations

import numpy as np
import pytest

from pfmsmtrec_flwr.data.prepare.moments import MOMENT_ROWS, MomentCollector, Standardiser


def collected(values: np.ndarray, chunk: int) -> Standardiser:
    collector = MomentCollector(values.shape[1])
    for start in range(0, len(values), chunk):
        collector.add(values[start : start + chunk])
    return collector.standardiser()


@pytest.mark.parametrize("rows", [0, 1, MOMENT_ROWS - 1, MOMENT_ROWS, 3 * MOMENT_ROWS + 5])
def test_moments_do_not_depend_on_the_chunks_in_any_bit(rows: int) -> None:
    values = np.random.default_rng(0).normal(1e6, 1.0, (rows, 2))
    values[::7, 1] = np.nan
    whole = collected(values, max(rows, 1))
    for chunk in (999, MOMENT_ROWS + 1):
        other = collected(values, chunk)
        np.testing.assert_array_equal(whole.mean, other.mean)
        np.testing.assert_array_equal(whole.deviation, other.deviation)
    if rows > 2:
        np.testing.assert_allclose(whole.mean, np.nanmean(values, axis=0), rtol=1e-12)
        np.testing.assert_allclose(whole.deviation, np.nanstd(values, axis=0), rtol=1e-6)


def test_missing_is_the_mean_and_constant_is_zero() -> None:
    standardiser = collected(np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan]]), 2)
    got = standardiser.apply(np.array([[4.0, 7.0, 1.0], [np.nan, np.nan, np.nan]]))
    np.testing.assert_array_equal(got, [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert got.dtype == np.float32


def test_a_constant_that_rounds_is_zero_too() -> None:
    values = np.full((30_011, 1), np.log1p(100.0))
    values[::3] = np.nan
    assert (collected(values, 700).apply(values) == 0).all()


def test_a_narrow_column_far_from_zero_is_still_standardised() -> None:
    values = 1.65e12 + np.arange(1000.0)[:, None] * 1000
    assert collected(values, 100).apply(values).std() == pytest.approx(1.0, abs=1e-4)
