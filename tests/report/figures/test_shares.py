from __future__ import annotations

import numpy as np
import pytest

from pfmsmtrec_flwr.report.figures.shares import draw_shares, symbol
from pfmsmtrec_flwr.report.study import Study


def test_a_panel_for_each_share_and_a_curve_for_each_scenario(study: Study) -> None:
    (drawing,) = draw_shares(study)
    alpha, beta = drawing.figure.axes
    assert drawing.name == "shares-pf-msmtrec"
    assert (alpha.get_ylabel(), beta.get_ylabel()) == ("α", "β")
    assert [line.get_label() for line in alpha.lines] == ["NL", "US"]
    assert np.asarray(alpha.lines[0].get_ydata()) == pytest.approx([0.6, 0.7, 0.8])
    assert np.asarray(beta.lines[1].get_ydata()) == pytest.approx([0.7, 0.65, 0.6])


def test_another_methods_share_keeps_its_name() -> None:
    assert symbol("mixture") == "mixture"
