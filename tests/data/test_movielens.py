"""MovieLens-100K in the layout of RecBole's atomic files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import movielens, movielens_official

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore

BANDS = {"age-under-25": (0, 25), "age-from-25": (25, 35), "age-from-35": (35, 45), "age-from-45": (45, 200)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return movielens(tmp_path / "ml-100k")


@pytest.fixture
def stores(source: Path, tmp_path: Path) -> dict[str, ScenarioStore]:
    return {store.scenario: store for store in prepare(load_schema("movielens-100k"), source, tmp_path / "data")}


def joined(source: Path) -> pd.DataFrame:
    tables = {end: pd.read_csv(source / f"ml-100k.{end}", sep="\t", quoting=3) for end in ("inter", "user", "item")}
    whole = tables["inter"].merge(tables["user"], on="user_id:token").merge(tables["item"], on="item_id:token")
    return whole.rename(columns=lambda name: name.partition(":")[0])


def test_age_bands_and_thresholds(source: Path, stores: dict[str, ScenarioStore]) -> None:
    table = joined(source)
    assert stores.keys() == BANDS.keys()
    for name, (low, high) in BANDS.items():
        own = table[(table.age >= low) & (table.age < high)]
        assert sum(len(split) for split in stores[name].splits.values()) == len(own)
        positives = np.sum([stores[name].positives(split) for split in SPLITS], axis=0)
        assert positives.tolist() == [(own.rating >= 4).sum(), (own.rating == 5).sum()]


def test_each_users_last_films_are_held_out(source: Path, stores: dict[str, ScenarioStore]) -> None:
    table = joined(source).sort_values(["user_id", "timestamp"])
    table["place"] = table.groupby("user_id").cumcount()
    for name, (low, high) in BANDS.items():
        own = table[(table.age >= low) & (table.age < high)]
        for split, first, last in (("train", 0, 14), ("validation", 14, 16), ("test", 16, 20)):
            films = own.item_id[(own.place >= first) & (own.place < last)] + 1
            assert sorted(stores[name].splits[split].categorical[:, 1]) == sorted(films)


def test_genres_are_several(source: Path, stores: dict[str, ScenarioStore]) -> None:
    store = stores["age-from-45"]
    assert [(field.name, field.most) for field in store.fields] == [
        ("user_id", 1),
        ("item_id", 1),
        ("genres", 6),
        ("release_year", 1),
        ("gender", 1),
        ("occupation", 1),
    ]
    films = joined(source).drop_duplicates("item_id").set_index("item_id")["class"]
    rows = {"Drama": [9], "Children's Comedy": [5, 6], "Sci-Fi War Film-Noir": [16, 18, 11], "unknown": [1]}
    test = store.splits["test"].categorical
    for row in test:
        genres = rows[films[row[1] - 1]]
        assert row[2:8].tolist() == genres + [0] * (6 - len(genres))
    assert {int(field) for field in test[:, 10]} <= {8, 13, 21}  # occupations
    assert {field.name for field in store.fields if not field.federated} == {"user_id"}


def test_the_official_layout_gives_the_same(stores: dict[str, ScenarioStore], tmp_path: Path) -> None:
    source = movielens_official(tmp_path / "official")
    others = prepare(load_schema("movielens-100k-official"), source, tmp_path / "data")
    assert [store.scenario for store in others] == sorted(BANDS)
    for store in others:
        for split in SPLITS:
            one, other = stores[store.scenario].splits[split], store.splits[split]
            assert np.array_equal(one.labels, other.labels)
            assert np.array_equal(np.sort(one.categorical[:, 2:8]), np.sort(other.categorical[:, 2:8]))  # genres
            rest = [0, 1, 8, 9, 10]
            assert np.array_equal(one.categorical[:, rest], other.categorical[:, rest])
