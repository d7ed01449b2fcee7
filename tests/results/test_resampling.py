from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.results.resampling import draw_weights, weighted_auc

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=40)


def columns(rows: list[tuple[int, int, int]]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    labels, scores, units = np.array(rows).T
    return labels, scores.astype(np.float32) / 4, units


@given(ROWS, st.integers(0, 5))
def test_it_is_scikit_learns_with_weights(rows: list[tuple[int, int, int]], seed: int) -> None:
    labels, scores, units = columns(rows)
    weights = draw_weights(5, range(4), seed)
    found = weighted_auc(labels, scores, units, weights)
    for draw, auc in enumerate(found):
        own = weights[units, draw]
        if np.unique(labels[own > 0]).size < 2:
            assert np.isnan(auc)
        else:
            assert auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=own), abs=1e-12)


@given(ROWS)
def test_a_row_that_is_drawn_twice_counts_as_two_rows(rows: list[tuple[int, int, int]]) -> None:
    labels, scores, units = columns(rows)
    once = np.ones((5, 1), dtype=np.float32)
    twice = weighted_auc(labels, scores, units, np.concatenate([once, 2 * once], axis=1))
    doubled = weighted_auc(np.tile(labels, 2), np.tile(scores, 2), np.tile(units, 2), once)
    np.testing.assert_allclose(twice[:1], twice[1:])
    np.testing.assert_allclose(twice[:1], doubled)


@given(ROWS)
def test_the_order_alone_counts_and_turned_labels_turn_it(rows: list[tuple[int, int, int]]) -> None:
    labels, scores, units = columns(rows)
    weights = draw_weights(5, range(3), seed=1)
    found = weighted_auc(labels, scores, units, weights)
    np.testing.assert_allclose(weighted_auc(labels, np.exp(3 * scores), units, weights), found)
    np.testing.assert_allclose(weighted_auc(1 - labels, scores, units, weights), 1 - found)


def test_draws_have_as_many_units_as_there_are_and_the_first_has_each_once() -> None:
    weights = draw_weights(400, range(50), seed=7)
    assert weights.shape == (400, 50)
    assert (weights.sum(axis=0) == 400).all()
    assert (weights[:, 0] == 1).all()
    assert weights[:, 1:].var() == pytest.approx(1.0, abs=0.05)  # as of a Poisson variable of mean 1


def test_a_draw_depends_on_its_number_and_the_seed_alone() -> None:
    whole = draw_weights(30, range(10), seed=3)
    np.testing.assert_array_equal(draw_weights(30, range(4, 8), seed=3), whole[:, 4:8])
    assert (draw_weights(30, range(10), seed=4)[:, 1:] != whole[:, 1:]).any()
