"""Impressions: distributed as in the real files, and differently in each scenario."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import raw_impressions, small

from pfmsmtrec_flwr.data.synthetic.layout import FIELDS, ZEROS


def test_raw_columns_have_the_zeros_and_ones_of_the_real_files() -> None:
    drawn = raw_impressions(small(), "NL", 20_000)
    categorical, numeric = drawn.categorical, drawn.numeric
    assert 0 <= numeric.min() <= numeric.max() <= 1
    zeros = (numeric == 0).mean(axis=0)
    np.testing.assert_allclose(zeros, np.array(ZEROS) / 100, atol=0.3)
    assert (numeric[:, 0] == 1).mean() == pytest.approx(0.38, abs=0.25)
    sizes = np.array([field.values for field in FIELDS])
    np.testing.assert_array_equal(categorical.min(axis=0), 1)
    np.testing.assert_array_equal(categorical.max(axis=0), sizes)


def test_scenarios_have_different_distributions() -> None:
    first, second = (raw_impressions(small(), name, 20_000) for name in ("NL", "US"))
    assert np.abs(first.numeric.mean(axis=0) - second.numeric.mean(axis=0)).max() > 0.05
    shares = [np.bincount(each.categorical[:, 6], minlength=51) / 20_000 for each in (first, second)]
    assert np.abs(shares[0] - shares[1]).sum() > 0.2
