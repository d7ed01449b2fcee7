from __future__ import annotations

import matplotlib
import pytest

from pfmsmtrec_flwr.report.figures.style import colour, dash, listed, panels, put_legend, style


def test_curves_of_the_same_colour_have_other_dashes() -> None:
    looks = [(colour(place), dash(place)) for place in range(28)]
    assert len(set(looks)) == 28


def test_the_style_holds_inside_alone() -> None:
    before = matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["font.size"]
    with style():
        assert (matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["font.size"]) == ("none", 8)
    assert (matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["font.size"]) == before


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_words_in_a_sentence(words: list[str], text: str) -> None:
    assert listed(words) == text


def test_a_legend_names_each_curve_of_all_panels_once() -> None:
    figure, (one, other) = panels(2, 3)
    one.plot([1, 2], label="a")
    other.plot([1, 2], label="a")
    other.plot([2, 1], label="b")
    put_legend(figure, one, other)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
