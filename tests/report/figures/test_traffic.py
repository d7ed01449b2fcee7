from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.report.figures.traffic import draw_traffic, round_ticks
from pfmsmtrec_flwr.report.study import Study


def test_a_method_that_sends_nothing_has_a_place_of_its_own(study: Study) -> None:
    ctr, _ = draw_traffic(study.figures)
    (axes,) = ctr.figure.axes
    assert axes.get_xticklabels()[0].get_text() == "none"
    assert "fedavg 5 MB, 0.6500" in ctr.alt and "consensus" not in ctr.alt


def test_nothing_is_drawn_where_nothing_is_sent(study: Study) -> None:
    silent = tuple(variant for variant in study.variants if variant.name in ("alone", "base-rate"))
    assert list(draw_traffic(replace(study, variants=silent).figures)) == []


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(3.0, 8.0, [2, 5, 10]), (5.0, 5.0, [5]), (0.03, 40.0, [0.01, 0.1, 1, 10, 100])],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(1e-6, 1e6), st.floats(1.0, 1e6))
def test_ticks_span_the_range(low: float, factor: float) -> None:
    ticks = round_ticks(low, low * factor)
    assert ticks[0] <= low and ticks[-1] >= low * factor
    assert len(ticks) <= max(6, math.log10(factor) + 3)
