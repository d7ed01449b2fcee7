"""Draws of test users: weights that need no exchange, and the AUC under them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federated import Tiny
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pfmsmtrec_flwr.data.store.manifest import NO_USER
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.data.synthetic.made_stores import ensure_synthetic
from pfmsmtrec_flwr.data.synthetic.settings import SyntheticSettings
from pfmsmtrec_flwr.results.resampling import draw_weights, weighted_auc
from pfmsmtrec_flwr.training import draws
from pfmsmtrec_flwr.training.draws import drawn_auc, poisson_weights, unit_keys

DRAWS = range(1, 101)


def keys(users: list[int] | None, scenario: str = "NL", people: str = "shop") -> NDArray[np.uint64]:
    rows = 3 if users is None else len(users)
    own = None if users is None else np.array(users, dtype=np.int64)
    return unit_keys(own, rows, people=people, scenario=scenario)


def store_of(rows: int, users: NDArray[np.int64] | None, scenario: str = "NL") -> ScenarioStore:
    generator = np.random.default_rng(rows)
    labels = (generator.random((rows, 2)) < (0.4, 0.2)).astype(np.uint8)
    split = Split(np.zeros((rows, 0), np.int32), np.zeros((rows, 0), np.float32), labels, users, None)
    return ScenarioStore(Path(), "shop", scenario, (), (), ("click", "like"), "", {"test": split})


def scores_of(store: ScenarioStore) -> NDArray[np.float32]:
    labels = store.splits["test"].labels
    noise: NDArray[np.float32] = np.random.default_rng(1).normal(size=labels.shape).astype(np.float32)
    return (labels + noise).round(1)


def test_a_user_has_the_same_weights_at_every_site() -> None:
    here, there = (poisson_weights(keys(users, name), DRAWS) for users, name in (([5, 9, 7], "NL"), ([7, 5], "ES")))
    np.testing.assert_array_equal(here[[2, 0]], there)
    assert (here[0] != here[1]).any()


def test_users_of_two_data_sets_are_drawn_apart() -> None:
    one, other = (poisson_weights(keys([5, 9], people=people), DRAWS) for people in ("shop", "videos"))
    assert (one != other).any(axis=1).all()


def test_rows_without_a_user_are_drawn_by_row_in_each_scenario() -> None:
    assert len(np.unique(np.concatenate([keys(None, "NL"), keys(None, "ES")]))) == 6
    mixed = keys([NO_USER, 4, NO_USER])
    assert mixed[[0, 2]].tolist() == keys(None)[[0, 2]].tolist()
    assert mixed[1] == keys([4])[0]


def test_prepared_users_of_two_scenarios_are_the_same() -> None:
    users = np.repeat(np.arange(20), 5)
    one, other = (store_of(100, users, scenario=name) for name in ("NL", "ES"))
    here, there = (drawn_auc(store, scores_of(one), 8)["click"] for store in (one, other))
    np.testing.assert_array_equal(here, there)


def test_made_up_users_of_two_scenarios_are_not_the_same(tmp_path: Path) -> None:
    sizes: Any = {"train_rows": {"NL": 60, "ES": 60}, "validation_rows": 20, "test_rows": 80, "ctr": 0.4}
    settings = SyntheticSettings(**sizes, conversions_per_click=0.5)
    one, other = (ensure_synthetic(settings, name, tmp_path) for name in ("NL", "ES"))
    other = replace(other, splits=one.splits)  # the same rows and numbers of users
    here, there = (drawn_auc(store, scores_of(store), 8)["ctr"] for store in (one, other))
    assert (here != there).all()


def test_weights_are_poisson_variables_of_mean_one_and_independent() -> None:
    weights = poisson_weights(keys(list(range(4000))), DRAWS)
    assert weights.shape == (4000, 100)
    assert weights.mean() == pytest.approx(1.0, abs=0.01)
    assert weights.var() == pytest.approx(1.0, abs=0.02)
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)
    for table in (weights[:, :40], weights[:40].T):
        correlations = np.corrcoef(table.T) - np.eye(40)
        assert np.sqrt((correlations**2).mean()) < 1.2 / np.sqrt(len(table))


def test_a_draw_depends_on_its_number_alone() -> None:
    whole = poisson_weights(keys([1, 2, 3]), DRAWS)
    np.testing.assert_array_equal(poisson_weights(keys([1, 2, 3]), range(40, 50)), whole[:, 39:49])
    assert len({column.tobytes() for column in poisson_weights(keys(list(range(9))), DRAWS).T}) == 100


def test_the_auc_is_scikit_learns_with_these_weights(tiny: Tiny) -> None:
    store = ScenarioStore.open(tiny.root / "tiny" / "US")
    split = store.splits["test"]
    assert split.users is not None
    scores = scores_of(store)
    found = drawn_auc(store, scores, 30)
    weights = poisson_weights(
        unit_keys(np.asarray(split.users), len(split), people="tiny", scenario="US"), range(1, 31)
    )
    for column, task in enumerate(store.tasks):
        labels = split.labels[:, column]
        expected = [roc_auc_score(labels, scores[:, column], sample_weight=own) for own in weights.T]
        np.testing.assert_allclose(found[task], expected, rtol=0, atol=1e-6)


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(50, np.arange(50) // 4)
    whole = drawn_auc(store, scores_of(store), 20)
    monkeypatch.setattr(draws, "_WEIGHTS", 150)
    for task, auc in drawn_auc(store, scores_of(store), 20).items():
        np.testing.assert_array_equal(auc, whole[task])


def test_one_class_has_no_auc_and_no_draws_are_nothing() -> None:
    store = store_of(12, None)
    one_class = replace(store.splits["test"], labels=np.ones((12, 2), np.uint8))
    found = drawn_auc(replace(store, splits={"test": one_class}), scores_of(store), 5)
    assert all(np.isnan(auc).all() for auc in found.values())
    assert drawn_auc(store, scores_of(store), 0) == {}


def test_the_spread_is_that_of_a_bootstrap_with_replacement() -> None:
    users: Any = np.arange(1200) // 4
    store = store_of(1200, users)
    scores = scores_of(store)
    found = drawn_auc(store, scores, 400)["click"].std()
    labels = np.asarray(store.splits["test"].labels[:, 0])
    expected = weighted_auc(labels, scores[:, 0], users, draw_weights(300, range(1, 401), seed=0)).std()
    assert found == pytest.approx(expected, rel=0.12)
