from __future__ import annotations

import numpy as np
import pytest

from pfmsmtrec_flwr.report.figures.learning import draw_learning
from pfmsmtrec_flwr.report.study import Study


def test_a_picture_for_each_scenario_with_the_selected_rounds(study: Study) -> None:
    nl, us = draw_learning(study)
    assert (nl.name, us.name) == ("learning-NL", "learning-US")
    (axes,) = nl.figure.axes  # ctcvr has no AUC on validation rows
    lines = {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    assert list(lines) == ["alone", "fedavg", "pf-msmtrec"]  # the floor has no rounds
    assert np.asarray(lines["fedavg"].get_ydata()) == pytest.approx([0.55, 0.6, 0.65 - 0.1 / 3])
    marks = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 1]
    assert [float(np.asarray(mark.get_xdata())[0]) for mark in marks] == [2.0] * 6  # three methods, two seeds
    assert [float(np.asarray(mark.get_ydata())[0]) for mark in marks[:2]] == pytest.approx([0.54, 0.56])
