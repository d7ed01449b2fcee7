from __future__ import annotations

import numpy as np

from pfmsmtrec_flwr.report.figures.matrix import Scale, draw_matrix

SCALE = Scale("Blues", 0, 1, "weight")


def test_each_cell_has_its_number_and_its_colour() -> None:
    axes, bar = draw_matrix("mine", ["NL", "US"], np.asarray([[0.9, 0.1], [-0.001, 1.0]]), SCALE).axes
    assert [text.get_text() for text in axes.texts] == ["0.90", "0.10", "0.00", "1.00"]
    assert [text.get_color() for text in axes.texts] == ["white", "black", "black", "white"]
    assert axes.get_title() == "mine"
    assert bar.get_ylabel() == "weight"
    (mesh,) = axes.collections
    assert mesh.get_clim() == (0, 1)


def test_a_cell_without_a_value_stays_empty() -> None:
    axes = draw_matrix("mine", ["NL", "US"], np.asarray([[0.9, np.nan], [np.nan, 1.0]]), SCALE).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.90", "1.00"]
    values = axes.collections[0].get_array()
    assert values is not None
    assert np.ma.getmaskarray(values).tolist() == [[False, True], [True, False]]


def test_many_scenarios_have_no_numbers() -> None:
    axes = draw_matrix("mine", [f"tab{place}" for place in range(13)], np.eye(13), SCALE).axes[0]
    assert len(axes.texts) == 0
    assert len(axes.get_yticklabels()) == 13
