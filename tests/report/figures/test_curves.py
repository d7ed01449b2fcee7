from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from pfmsmtrec_flwr.report.figures.curves import Curve, curve_of, draw_curve


def test_a_curve_goes_as_far_as_every_seed() -> None:
    curve = curve_of([{1: 0.5, 2: 0.6, 3: 0.9}, {1: 0.7, 2: 0.6}])
    assert curve is not None and curve.rounds == (1, 2)
    assert curve.mean == pytest.approx((0.6, 0.6))
    assert curve.sd == pytest.approx((0.2 / 2**0.5, 0.0))


def test_one_seed_has_no_deviation() -> None:
    assert curve_of([{2: 0.5}]) == Curve((2,), (0.5,), (0.0,))


@pytest.mark.parametrize("series", [[], [{}], [{1: 0.5}, {2: 0.5}]])
def test_no_round_in_common_is_no_curve(series: list[dict[int, float]]) -> None:
    assert curve_of(series) is None


@pytest.mark.parametrize(("sd", "bands"), [((0.1, 0.2), 1), ((0.0, 0.0), 0)])
def test_the_band_is_a_deviation_wide(sd: tuple[float, float], bands: int) -> None:
    axes = Figure().subplots()
    draw_curve(axes, Curve((1, 2), (0.5, 0.6), sd), colour="#000000", dash="-", label="x")
    assert len(axes.collections) == bands
    if bands:
        edges = axes.collections[0].get_paths()[0].get_extents()
        assert (edges.ymin, edges.ymax) == pytest.approx((0.4, 0.8))
