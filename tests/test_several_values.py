"""Fields of several values, from a table to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pfmsmtrec_flwr.central.pool import pool_rows
from pfmsmtrec_flwr.config import ModelSettings, RunConfig
from pfmsmtrec_flwr.data.batches import batches
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
from pfmsmtrec_flwr.model.build import ARCHITECTURES
from pfmsmtrec_flwr.scoring.saved_model import ModelDescription
from pfmsmtrec_flwr.validation import parse

GENRES = ["drama", "comedy", "war"]


def schema(separator: str | None = "|", **more: Any) -> DatasetSchema:
    several = {"most": 2} | ({} if separator is None else {"separator": separator})
    fields = {
        "item": {"identity": {"size": 20}, "embedding": "federated"},
        "genres": {"several": several, "values": GENRES, "embedding": "federated"},
        "seen": {"column": "history", "several": several, "vocabulary": {"min_count": 1}, "embedding": "local"},
        "user": {"vocabulary": {}, "embedding": "local"},
    }
    document: dict[str, Any] = {"name": "films", "title": "Films", "licence": "ours", "url": "none", "users": "user"}
    document |= {"table": {"files": ["log.*"]}, "scenario": {"column": "country", "values": {"a": "A", "b": "B"}}}
    document |= {"tasks": {"click": "click"}, "split": {"random": {"validation": 0.2, "test": 0.2}}, "fields": fields}
    return parse(DatasetSchema, document | more, "films.yaml")


def rows(count: int = 400) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    genres = [list(draw.permutation([*GENRES, "unheard-of"])[: draw.integers(0, 4)]) for _ in range(count)]
    history = [[int(value) for value in draw.integers(0, 6, draw.integers(0, 3))] for _ in range(count)]
    columns: dict[str, Any] = {"country": draw.choice(["a", "b"], count), "user": draw.integers(0, 30, count)}
    columns |= {"item": draw.integers(0, 20, count), "click": draw.integers(0, 2, count)}
    return pd.DataFrame(columns | {"genres": genres, "history": history})


def joined(frame: pd.DataFrame, separator: str) -> pd.DataFrame:
    return frame.assign(
        **{name: [separator.join(map(str, values)) for values in frame[name]] for name in ("genres", "history")}
    )


@pytest.fixture
def stores(tmp_path: Path) -> list[ScenarioStore]:
    (tmp_path / "csv").mkdir()
    joined(rows(), "|").to_csv(tmp_path / "csv" / "log.csv", index=False)
    return prepare(schema(), tmp_path / "csv", tmp_path / "data")


def test_values_become_padded_rows(stores: list[ScenarioStore]) -> None:
    store, frame = stores[0], rows()
    assert [(field.name, field.size, field.most) for field in store.fields][:2] == [("item", 21, 1), ("genres", 4, 2)]
    own = frame[frame["country"] == "a"]
    wanted = sorted(
        (item, *([GENRES.index(each) + 1 if each in GENRES else 0 for each in genres[:2]] + [0, 0])[:2])
        for item, genres in zip(own["item"] + 1, own["genres"], strict=True)
    )
    found = np.concatenate([split.categorical[:, :3] for split in store.splits.values()])
    assert sorted(map(tuple, found.tolist())) == wanted


def test_a_point_between_digits_separates_values(stores: list[ScenarioStore], tmp_path: Path) -> None:
    (tmp_path / "points").mkdir()
    frame = joined(rows(), ".")
    assert (frame["history"] == "1.0").any()  # two values, not the number 1
    frame.to_csv(tmp_path / "points" / "log.csv", index=False)
    for one, other in zip(stores, prepare(schema("."), tmp_path / "points", tmp_path / "other"), strict=True):
        assert [each.size for each in one.fields] == [each.size for each in other.fields]
        for name, split in one.splits.items():
            np.testing.assert_array_equal(split.categorical, other.splits[name].categorical)


def test_values_without_a_place_are_counted_and_reported(
    stores: list[ScenarioStore], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="pfmsmtrec"):
        prepare(schema(), tmp_path / "csv", tmp_path / "again")
    for store in stores:
        own = rows()[rows()["country"] == store.scenario.lower()]
        surplus = (own["genres"].map(len) - 2).clip(lower=0).sum()
        assert surplus > 10
        assert store.extra["values_left_out"] == {"genres": surplus, "seen": 0}
        assert f"{store.scenario}: {surplus} values of 'genres' are left out, as a row has at most 2" in caplog.text
    assert "'seen'" not in caplog.text


def test_values_of_side_tables_are_counted_per_row(tmp_path: Path) -> None:
    frame = joined(rows(), "|")
    (tmp_path / "sides").mkdir()
    whole = frame.assign(number=np.arange(400) // 2 * 2)  # every other list stands for two rows
    whole.drop(columns="genres").to_csv(tmp_path / "sides" / "log.csv", index=False)
    whole[::2][["number", "genres"]].to_csv(tmp_path / "sides" / "items.csv", index=False)
    others = prepare(schema(joins=[{"files": ["items.csv"], "key": "number"}]), tmp_path / "sides", tmp_path / "other")
    surplus = (rows()["genres"].map(len) - 2).clip(lower=0)[::2].sum()
    counted = [store.extra["values_left_out"] for store in others]
    assert sum(each["genres"] for each in counted) == 2 * surplus  # type: ignore[call-overload, index, misc]


def test_list_columns_of_parquet_give_the_same_store(stores: list[ScenarioStore], tmp_path: Path) -> None:
    (tmp_path / "parquet").mkdir()
    rows().to_parquet(tmp_path / "parquet" / "log.parquet")
    others = prepare(schema(separator=None), tmp_path / "parquet", tmp_path / "other")
    assert [store.checksums for store in others] == [store.checksums for store in stores]


def fields_of(genres: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    return {
        "genres": {"several": {"most": 2} | genres, "values": GENRES, "embedding": "federated"},
        "history": {"several": {"most": 2} | seen, "missing": [3], "vocabulary": {}, "embedding": "local"},
    }


def spread_out(folder: Path, *, side: bool) -> None:
    """Write rows with genres as flags and the history in columns, beside their texts."""
    frame = rows()
    frame["genres"] = [[genre for genre in GENRES if genre in own] for own in frame["genres"]]
    for genre in GENRES:
        frame[genre] = [int(genre in own) for own in frame["genres"]]
    for place in range(3):
        frame[f"seen_{place + 1}"] = frame["history"].str[place].astype("Int64")
    frame = joined(frame, "|").assign(number=range(400))
    of_side = ["number", *GENRES] if side else ["number"]
    frame.drop(columns=of_side[1:]).to_csv(folder / "log.csv", index=False)
    frame[of_side].to_csv(folder / "items.csv", index=False)


@pytest.mark.parametrize("side", [False, True])
def test_columns_and_flags_give_the_same_store(tmp_path: Path, side: bool) -> None:
    spread_out(tmp_path, side=side)
    texts = schema(fields=fields_of({"separator": "|"}, {"separator": "|"}))
    several = fields_of({"flags": GENRES}, {"columns": ["seen_{1..3}"]})
    spread = schema(fields=several, joins=[{"files": ["items.csv"], "key": "number"}] if side else [])
    stores = [prepare(each, tmp_path, tmp_path / name) for name, each in (("one", texts), ("other", spread))]
    assert [store.checksums for store in stores[0]] == [store.checksums for store in stores[1]]
    assert [store.extra["values_left_out"] for store in stores[0]] == [
        store.extra["values_left_out"] for store in stores[1]
    ]
    assert spread.schema_hash == schema(fields=fields_of({}, {})).schema_hash  # agreed on whatever the form


def test_a_flag_is_0_or_1(tmp_path: Path) -> None:
    spread_out(tmp_path, side=False)
    frame = pd.read_csv(tmp_path / "log.csv")
    frame.loc[7, "war"] = 2
    frame.to_csv(tmp_path / "log.csv", index=False)
    wrong = schema(fields=fields_of({"flags": GENRES}, {"separator": "|"}))
    with pytest.raises(UserError, match=r"log\.csv, line 9, column 'war': got '2', expected a flag 0 or 1"):
        prepare(wrong, tmp_path, tmp_path / "data")


def test_a_label_is_among_no_columns() -> None:
    with pytest.raises(UserError, match="'genres' reads the label column 'click'"):
        schema(fields=fields_of({"flags": ["war", "click"]}, {}))


def test_text_needs_a_separator(tmp_path: Path) -> None:
    joined(rows(), "|").to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(UserError, match=r"log\.csv: field 'genres' needs several\.separator"):
        prepare(schema(separator=None), tmp_path, tmp_path / "data")


def test_side_tables_may_have_them(stores: list[ScenarioStore], tmp_path: Path) -> None:
    frame = joined(rows(), "|").assign(number=range(400))
    (tmp_path / "sides").mkdir()
    frame.drop(columns="genres").to_csv(tmp_path / "sides" / "log.csv", index=False)
    frame[["number", "genres"]].to_csv(tmp_path / "sides" / "items.csv", index=False)
    others = prepare(schema(joins=[{"files": ["items.csv"], "key": "number"}]), tmp_path / "sides", tmp_path / "other")
    assert [store.checksums for store in others] == [store.checksums for store in stores]


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_has_one_vector_per_field(stores: list[ScenarioStore], architecture: str) -> None:
    pool = pool_rows(stores, parse(RunConfig, {}, "test"))
    spec = ModelSpec(pool.spec.fields, 0, ("click", "like"), scenarios=2)
    model = build_model(
        spec, parse(ModelSettings, {"architecture": architecture, "embedding_dim": 4}, "test"), seed=0
    ).eval()
    batch = next(batches(pool.splits["train"], 64))
    logits = model(batch.categorical, batch.numeric)
    assert logits.shape == (64, 2)
    swapped = batch.categorical.clone()
    swapped[:, [1, 2]] = batch.categorical[:, [2, 1]]
    torch.testing.assert_close(model(swapped, batch.numeric), logits)


def test_pooled_vocabularies_lie_behind_each_other(stores: list[ScenarioStore]) -> None:
    pool = pool_rows(stores, parse(RunConfig, {}, "test"), "shared")
    first, second = (store.fields[2].size - 1 for store in stores)
    assert [field.most for field in pool.spec.fields] == [1, 2, 2, 1, 1]
    assert pool.spec.fields[2].rows == 1 + first + second
    own = stores[1].splits["test"].categorical[:, 3:5]
    assert np.array_equal(pool.of("test", "B").categorical[:, 3:5], np.where(own > 0, own + first, 0))
    assert pool.spec.fields[3].rows == 31


def test_a_saved_description_keeps_them() -> None:
    spec = ModelSpec((FieldSpec("genres", 4, federated=True, most=2),), 0, ("click",))
    description = ModelDescription("A", "films", "alone", 0, 1, spec, ModelSettings())
    assert ModelDescription.from_json(description.to_json(), "model.json") == description


def test_an_item_of_sampled_negatives_has_one_value() -> None:
    negatives = {"task": "click", "scenarios": ["A"], "item": "genres", "per_positive": 1}
    with pytest.raises(UserError, match="'genres' has several values in a row, expected one"):
        schema(negatives=negatives)


def test_the_digest_of_other_schemas_is_unchanged() -> None:
    plain = {"item": {"identity": {"size": 20}, "embedding": "federated"}}
    assert schema(fields=plain).schema_hash == "55edda99337635749adc389605a0fbcc"
    several = {"item": plain["item"] | {"several": {"separator": "|", "most": 2}}}
    assert schema(fields=several).schema_hash != schema(fields=plain).schema_hash
