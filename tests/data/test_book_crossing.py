"""Book-Crossing in the layout of its extract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import book_crossing

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore

COUNTRIES = {"usa", "canada", "united-kingdom", "germany", "australia", "spain"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return book_crossing(tmp_path / "bx")


@pytest.fixture
def stores(source: Path, tmp_path: Path) -> dict[str, ScenarioStore]:
    return {store.scenario: store for store in prepare(load_schema("book-crossing"), source, tmp_path / "data")}


def joined(source: Path) -> pd.DataFrame:
    tables = {name: pd.read_csv(source / f"BX-{name}.csv", dtype=str) for name in ("Ratings", "Users", "Books")}
    whole = tables["Ratings"].merge(tables["Users"], on="User-ID").merge(tables["Books"], on="ISBN")
    country = whole["User-Country"].str.strip(' "').str.replace(" ", "-")
    return whole.assign(country=country, rating=whole["Book-Rating"].astype(int))


def test_countries_and_thresholds(source: Path, stores: dict[str, ScenarioStore]) -> None:
    table = joined(source)
    assert stores.keys() == COUNTRIES
    for name, store in stores.items():
        rating = table.rating[table.country == name]
        assert sum(len(split) for split in store.splits.values()) == len(rating)
        positives = np.sum([store.positives(split) for split in SPLITS], axis=0)
        assert positives.tolist() == [(rating >= 8).sum(), (rating == 10).sum()]


def test_dirty_values(source: Path, stores: dict[str, ScenarioStore]) -> None:
    table = joined(source)
    own = table[table.country == "germany"]
    store = stores["germany"]
    categorical = np.concatenate([store.splits[split].categorical for split in SPLITS])
    places = {field.name: place for place, field in enumerate(store.fields)}
    assert {field.name for field in store.fields if not field.federated} == {"user_id", "state"}
    ages = {"34": 6, '34"': 6, "209": 16, "0": 1}  # bands from 30, from 80 and under 10
    wanted = own["User-Age"].map(ages).fillna(0).astype(int)
    assert sorted(categorical[:, places["age"]]) == sorted(wanted)
    years = own["Year-Of-Publication"].map({"0": 0, "1971": 1972, "2003": 2004})
    assert sorted(categorical[:, places["year"]]) == sorted(years)
    assert len(np.unique(categorical[:, places["author"]])) == own["Book-Author"].str.lower().nunique()
    states = categorical[:, places["state"]]
    assert np.unique(states).tolist() == [0, 1]
    assert (states == 1).sum() == (own["User-State"] == " ontario").sum()
