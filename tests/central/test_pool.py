from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from federated import Tiny
from hypothesis import given
from hypothesis import strategies as st
from stores import split_of, store_of

from pfmsmtrec_flwr.central.pool import Pool, pool_rows
from pfmsmtrec_flwr.config import DataSettings, RunConfig
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec
from pfmsmtrec_flwr.training.description import training_rows

ITEM = Field("item", 5, True)
CONFIG = RunConfig()


def fields(people: int, towns: int) -> tuple[Field, ...]:
    return ITEM, Field("person", people, False), Field("town", towns, False)


@pytest.fixture
def stores() -> tuple[ScenarioStore, ScenarioStore]:
    """Two scenarios; the users 70 and 90 are in both, and 80 is too rare for A's vocabulary."""
    one = {
        "train": split_of([[1, 1, 1], [2, 2, 1], [0, 1, 0], [3, 0, 2]], users=[70, 90, 70, 80]),
        "validation": split_of([[4, 2, 0], [4, 0, 1]], users=[90, 99]),
        "test": split_of([[1, 1, 1]], users=[70]),
    }
    other = {
        "train": split_of([[4, 3, 2], [1, 1, 1], [2, 2, 1]], users=[90, 60, 70]),
        "validation": split_of([[0, 3, 0]], users=[90]),
        "test": split_of([[1, 0, 2], [2, 1, 1]], users=[99, 60]),
    }
    return store_of("A", fields(3, 3), one), store_of("B", fields(4, 4), other)


def test_private_identities_are_rows_of_their_own(stores: tuple[ScenarioStore, ...]) -> None:
    pool = pool_rows(stores, CONFIG)
    assert pool.splits["train"].categorical.tolist() == [
        [1, 1, 1, 1],
        [2, 2, 1, 1],
        [0, 1, 0, 1],
        [3, 0, 2, 1],
        [4, 5, 4, 2],  # B's vocabularies follow A's 2 people and 2 towns
        [1, 3, 3, 2],
        [2, 4, 3, 2],
    ]
    assert pool.splits["validation"].categorical.tolist() == [[4, 2, 0, 1], [4, 0, 1, 1], [0, 5, 0, 2]]
    assert pool.splits["test"].categorical.tolist() == [[1, 1, 1, 1], [1, 0, 4, 2], [2, 3, 3, 2]]
    assert pool.splits["train"].categorical.dtype == np.int32
    assert pool.splits["train"].labels.tolist() == [[1], [0], [1], [0], [1], [0], [1]]
    assert pool.spec.fields == (
        FieldSpec("item", 5, True),
        FieldSpec("person", 6, False),
        FieldSpec("town", 6, False),
        FieldSpec("scenario", 3, False),
    )
    assert (pool.spec.scenarios, pool.spec.tasks) == (2, ("click",))


def test_shared_identities_are_one_vocabulary_of_the_users(stores: tuple[ScenarioStore, ...]) -> None:
    pool = pool_rows(stores, CONFIG, "shared")
    # The users 60, 70 and 90 are 1, 2 and 3; the town, which several people share, stays private.
    assert pool.splits["train"].categorical[:, 1].tolist() == [2, 3, 2, 0, 3, 1, 2]
    assert pool.splits["validation"].categorical[:, 1].tolist() == [3, 0, 3]
    assert pool.splits["test"].categorical[:, 1].tolist() == [2, 0, 1]
    assert pool.splits["train"].categorical[:, 2].tolist() == [1, 1, 0, 2, 4, 3, 3]
    assert [field.rows for field in pool.spec.fields] == [5, 4, 6, 3]


def test_a_scenarios_rows_are_found_again(stores: tuple[ScenarioStore, ...]) -> None:
    pool = pool_rows(stores, CONFIG)
    assert pool.of("validation", "A").categorical.tolist() == [[4, 2, 0, 1], [4, 0, 1, 1]]
    assert np.asarray(pool.of("train", "B").users).tolist() == [90, 60, 70]
    assert pool.of("train", "B").probabilities is None
    assert np.shares_memory(pool.of("train", "B").labels, pool.splits["train"].labels)


def test_users_and_true_probabilities_are_pooled_where_all_have_them() -> None:
    known = split_of([[1], [2]], users=[1, 2], truth=[[0.25], [0.5]])
    pool = pool_rows([store_of("A", [ITEM], known), store_of("B", [ITEM], known)], CONFIG)
    assert np.asarray(pool.splits["test"].users).tolist() == [1, 2, 1, 2]
    assert np.asarray(pool.splits["test"].probabilities).tolist() == [[0.25], [0.5], [0.25], [0.5]]
    pool = pool_rows([store_of("A", [ITEM], known), store_of("B", [ITEM], split_of([[1]]))], CONFIG)
    assert pool.splits["test"].users is None
    assert pool.splits["test"].probabilities is None


def test_the_fraction_of_training_rows_is_that_of_a_federation(tiny: Tiny) -> None:
    stores = [ScenarioStore.open(tiny.root / "tiny" / name) for name in ("FR", "US")]
    config = RunConfig(data=DataSettings(train_fraction=0.25), seed=3)
    pool = pool_rows(stores, config)
    for store in stores:
        rows, used = pool.of("train", store.scenario), training_rows(store, config)
        assert len(rows) == len(store.splits["train"]) // 4
        assert np.array_equal(rows.numeric, used.numeric)
        assert np.array_equal(rows.categorical[:, :2], used.categorical[:, :2])
    assert len(pool.splits["validation"]) == 80


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=4), st.lists(st.integers(0, 3))
)
def test_private_rows_are_met_in_one_scenario_only(values: list[list[int]], spare: list[int]) -> None:
    sizes = [max(column) + 1 + extra for column, extra in zip(values, spare + [0] * len(values), strict=False)]
    stores = [
        store_of(f"S{number}", [Field("person", size, False)], split_of([[value] for value in column]))
        for number, (column, size) in enumerate(zip(values, sizes, strict=True))
    ]
    pool = pool_rows(stores, CONFIG)
    parts = [pool.of("train", store.scenario).categorical[:, 0] for store in stores]
    met = [set(part[part > 0].tolist()) for part in parts]
    assert sum(len(own) for own in met) == len(set().union(*met))
    assert [[value > 0 for value in column] for column in values] == [(part > 0).tolist() for part in parts]
    assert [len(own) for own in met] == [len({value for value in column if value}) for column in values]
    assert all(part.max() < pool.spec.fields[0].rows for part in parts)


def pooled(one: ScenarioStore, other: ScenarioStore, *, shared: bool = False) -> Pool:
    return pool_rows([one, other], CONFIG, "shared" if shared else "private")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("buy",)}, r"A has the tasks click and B has buy: leave one of them out of federation\.scenarios"),
        ({"fields": (Field("item", 6, True),)}, r"A has the fields item \(5 rows\) and B has item \(6 rows\)"),
        ({"fields": (Field("item", 5, False),)}, r"A has the fields item \(5 rows\) and B has item:"),
        ({"numeric": ("age",)}, r"A has the numeric columns none and B has age"),
        ({"schema_hash": "6" * 32}, r"A has the schema 55555555 and B has 66666666"),
    ],
)
def test_scenarios_that_differ_are_refused(change: dict[str, Any], message: str) -> None:
    rows = split_of([[1], [2]])
    with pytest.raises(UserError, match=f"^only scenarios that are alike can be pooled, but {message}"):
        pooled(store_of("A", [ITEM], rows), replace(store_of("B", [ITEM], rows), **change))


@pytest.mark.parametrize(
    ("values", "users"),
    [
        ([1, 1, 2], [5, 6, 7]),  # two users with one value
        ([1, 2, 3], [5, 5, 7]),  # two values of one user
        ([0, 0, 0], [5, 6, 7]),  # no known value
    ],
)
def test_a_field_that_is_not_the_user_is_not_shared(values: list[int], users: list[int]) -> None:
    person = [Field("person", 4, False)]
    good = store_of("A", person, split_of([[1], [2], [3]], users=[5, 6, 7]))
    bad = store_of("B", person, split_of([[value] for value in values], users=users))
    with pytest.raises(
        UserError, match=r"^identities cannot be shared, because no local field .*\(local fields: person\)"
    ):
        pooled(good, bad, shared=True)


def test_identities_are_not_shared_without_users() -> None:
    person = [Field("person", 4, False)]
    good = store_of("A", person, split_of([[1], [2]], users=[5, 6]))
    with pytest.raises(
        UserError, match=r"^identities cannot be shared, because scenario B has no users: name their column"
    ):
        pooled(good, store_of("B", person, split_of([[1], [2]])), shared=True)
    federated = store_of("A", [Field("person", 4, True)], split_of([[1], [2]], users=[5, 6]))
    with pytest.raises(UserError, match=r"local fields: none"):
        pool_rows([federated], CONFIG, "shared")
