from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.results.means import Spread, complete_mean, mean, spread


@given(st.lists(st.none() | st.floats(-1e6, 1e6)))
def test_mean_ignores_what_is_not_defined(figures: list[float | None]) -> None:
    defined = [figure for figure in figures if figure is not None]
    assert mean(figures) == (pytest.approx(float(np.mean(defined)), abs=1e-6) if defined else None)


def test_a_complete_mean_needs_every_figure() -> None:
    assert complete_mean([0.25, 0.75]) == 0.5
    assert math.isnan(complete_mean([0.25, math.nan]))
    assert math.isnan(complete_mean([]))


def test_a_spread_is_the_mean_and_the_sample_standard_deviation() -> None:
    assert spread([1.0, 2.0, 6.0]) == Spread(mean=3.0, sd=math.sqrt(7.0), count=3)
    assert spread([0.5]) == Spread(mean=0.5, sd=None, count=1)


@pytest.mark.parametrize("figures", [[], [None], [0.5, None], [0.5, math.nan]])
def test_a_figure_that_a_seed_lacks_has_no_mean(figures: list[float | None]) -> None:
    assert spread(figures) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9), st.floats(-1e3, 1e3))
def test_a_shift_moves_the_mean_alone(figures: list[float], shift: float) -> None:
    one, other = spread(figures), spread([figure + shift for figure in figures])
    assert one and other and one.sd is not None and other.sd is not None
    assert other.mean == pytest.approx(one.mean + shift, abs=1e-6)
    assert other.sd == pytest.approx(one.sd, rel=1e-6, abs=1e-6)
