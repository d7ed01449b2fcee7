"""Preparing: vocabularies and moments come from a scenario's own training rows only; bad input is one clear error."""

from __future__ import annotations

import fcntl
import gzip
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from modes import open_to_others

from pfmsmtrec_flwr.data.prepare import rows as reading
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.read import csv_pieces
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.writer import StoreWriter
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse


def schema(**changes: Any) -> DatasetSchema:
    document: dict[str, Any] = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log*.csv"]},
        "scenario": {"column": "country", "values": {1: "NL", 2: "ES"}},
        "tasks": {"ctr": "click", "ctcvr": "buy"},
        "users": "user",
        "split": {"by_date": {"column": "day", "last_days": {"test": 1, "validation": 1}}},
        "fields": {
            "user": {"vocabulary": {"min_count": 2}, "embedding": "local"},
            "item": {"hash": {"buckets": 50}, "embedding": "federated"},
            "hour": {"column": "time", "transform": "hour", "identity": {"size": 24}, "embedding": "federated"},
        },
        "numeric": {"price": {"transform": "log1p", "missing": [-1]}, "weight": {"clip": [-1, 1]}},
    }
    return parse(DatasetSchema, document | changes, "shop.yaml")


def impressions(rows: int = 4000, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    click = draw.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "country": draw.integers(1, 3, rows),
            "day": draw.integers(20240228, 20240230, rows) + draw.integers(0, 2, rows) * 73,  # 0228, 0229, 0301, 0302
            "user": draw.integers(0, 300, rows),
            "item": draw.integers(0, 1000, rows),
            "time": draw.integers(0, 24, rows) * 100 + draw.integers(0, 60, rows),
            "price": np.round(draw.gamma(2.0, 10.0, rows), 3),
            "weight": np.round(draw.normal(0.3, 1.0, rows), 3),
            "click": click,
            "buy": click * draw.integers(0, 2, rows),
        }
    )


def prepared(
    frame: pd.DataFrame, folder: Path, changes: dict[str, Any] | None = None, scenarios: list[str] | None = None
) -> dict[str, ScenarioStore]:
    source = folder / "source"
    source.mkdir(parents=True, exist_ok=True)
    frame.to_csv(source / "log.csv", index=False)
    stores = prepare(schema(**(changes or {})), source, folder / "data", scenarios=scenarios)
    return {store.scenario: store for store in stores}


def files(store: ScenarioStore, only: str = "") -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.folder.iterdir() if file.name.startswith(only)}


def same_rows(one: ScenarioStore, other: ScenarioStore) -> bool:
    """Whether two stores are the same to the last byte, apart from the schemas that they keep."""

    def contents(store: ScenarioStore) -> dict[str, Any]:
        found: dict[str, Any] = files(store)
        manifest = json.loads(found["manifest.json"])
        del manifest["attached"]["schema.yaml"], found["schema.yaml"]
        return found | {"manifest.json": manifest}

    return contents(one) == contents(other)


def test_rows_labels_and_features_against_a_plain_computation(tmp_path: Path) -> None:
    frame = impressions()
    stores = prepared(frame, tmp_path)
    assert list(stores) == ["ES", "NL"]
    own = frame[frame.country == 1]
    train = own[own.day < 20240301]
    store = stores["NL"]
    assert store.extra["split"] == {"by_date": "day", "validation": ["20240301"], "test": ["20240302"]}
    parts = (train, own[own.day == 20240301], own[own.day == 20240302])
    for split, part in zip(SPLITS, parts, strict=True):
        got = store.splits[split]
        np.testing.assert_array_equal(got.labels, part[["click", "buy"]])
        assert store.positives(split) == (part.click.sum(), part.buy.sum())
        np.testing.assert_array_equal(got.categorical[:, 2], part.time // 100 + 1)
        assert len(np.unique(np.asarray(got.users))) == part.user.nunique()
        logs = np.log1p(train.price)
        expected = (np.log1p(part.price) - logs.mean()) / logs.std(ddof=0)
        np.testing.assert_allclose(got.numeric[:, 0], expected, rtol=1e-4, atol=1e-5)
        clipped = train.weight.clip(-1, 1)
        expected = (part.weight.clip(-1, 1) - clipped.mean()) / clipped.std(ddof=0)
        np.testing.assert_allclose(got.numeric[:, 1], expected, rtol=1e-4, atol=1e-5)
    counts = train.user.value_counts()
    assert store.fields[0].size == 1 + (counts >= 2).sum()
    assert [(field.name, field.size, field.federated) for field in store.fields[1:]] == [
        ("item", 51, True),
        ("hour", 25, True),
    ]
    assert counts.max() == (store.splits["train"].categorical[:, 0] == 1).sum()


def test_training_columns_are_standardised(tmp_path: Path) -> None:
    for store in prepared(impressions(20_000), tmp_path).values():
        numeric = store.splits["train"].numeric.astype(np.float64)
        np.testing.assert_allclose(numeric.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(numeric.std(axis=0), 1, atol=1e-6)


def test_one_scenario_alone_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = impressions(30_000)
    together = prepared(frame, tmp_path / "all")
    monkeypatch.setattr(csv_pieces, "PIECE_BYTES", 50_000)
    own = frame[frame.country == 1]
    alone = prepared(own, tmp_path / "alone", scenarios=["NL"])
    assert list(alone) == ["NL"]
    assert files(alone["NL"]) == files(together["NL"])
    assert alone["NL"].schema_hash == together["ES"].schema_hash


def test_users_are_kept_together(tmp_path: Path) -> None:
    changes = {"split": {"by_user": {"validation": 0.2, "test": 0.2}}}
    store = prepared(impressions(), tmp_path, changes)["NL"]
    train, validation, test = (set(np.asarray(store.splits[split].users).tolist()) for split in SPLITS)
    assert not (train & validation or train & test or validation & test)
    assert len(train | validation | test) == 300


def test_nothing_is_learned_from_held_out_rows(tmp_path: Path) -> None:
    frame = impressions()
    held_out = frame.day >= 20240301
    other = frame.copy()
    other.loc[held_out, "price"] = 1e6
    other.loc[held_out, "weight"] = 77
    other.loc[held_out, "user"] = 999
    other.loc[held_out, "item"] = 4
    other.loc[held_out, "click"] = 1 - other.loc[held_out, "click"]
    first, second = prepared(frame, tmp_path / "a"), prepared(other, tmp_path / "b")
    for name in ("NL", "ES"):
        assert files(first[name], "train.") == files(second[name], "train.")
        assert files(first[name], "test.") != files(second[name], "test.")
        assert first[name].fields == second[name].fields
        assert set(second[name].splits["test"].categorical[:, 0]) == {0}  # an unseen user


def test_another_scenarios_rows_change_nothing(tmp_path: Path) -> None:
    frame = impressions()
    other = frame.copy()
    other.loc[other.country == 2, ["price", "weight", "user", "item"]] = 3
    first, second = prepared(frame, tmp_path / "a"), prepared(other, tmp_path / "b")
    assert files(first["NL"]) == files(second["NL"])
    assert files(first["ES"]) != files(second["ES"])


def test_missing_values_sentinels_and_constants(tmp_path: Path) -> None:
    frame = impressions(400).astype({"price": object, "user": object, "item": object, "time": object})
    frame.loc[frame.index % 3 == 0, "price"] = -1
    frame.loc[frame.index % 3 == 1, "price"] = None
    frame.loc[frame.index % 2 == 0, ["user", "item", "time"]] = None
    frame["weight"] = 0.5
    for store in prepared(frame, tmp_path).values():
        own = frame[(frame.country == (1 if store.scenario == "NL" else 2)) & (frame.day < 20240301)]
        train = store.splits["train"]
        np.testing.assert_array_equal(train.numeric[:, 0] == 0, own.index % 3 != 2)
        assert (train.numeric[:, 1] == 0).all()
        np.testing.assert_array_equal((train.categorical[:, 1:] == 0).all(axis=1), own.index % 2 == 0)
        assert train.users is not None
        np.testing.assert_array_equal(train.users == -1, own.index % 2 == 0)


def test_explicit_days_and_random_keys(tmp_path: Path) -> None:
    frame = impressions()
    by_day = {"split": {"by_date": {"column": "day", "validation": ["20240301"], "test": [20240302]}}}
    assert same_rows(prepared(frame, tmp_path / "a", by_day)["NL"], prepared(frame, tmp_path / "b")["NL"])
    by_item = {"split": {"random": {"key": "item", "validation": 0.1, "test": 0.3, "seed": 1}}}
    stores = prepared(frame, tmp_path / "c", by_item)
    shares = [len(stores["NL"].splits[split]) / (frame.country == 1).sum() for split in SPLITS]
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.3], atol=0.06)


def test_days_are_ordered_as_numbers_or_text(tmp_path: Path) -> None:
    frame = impressions()
    frame["day"] = frame.day.map({20240228: 8, 20240229: 9, 20240301: 10, 20240302: 11})
    counted = {"times": {"day": {"form": "number"}}}
    assert split_days(prepared(frame, tmp_path / "a", counted)["NL"])["test"] == ["11"]
    frame["day"] = frame.day.map({8: "2024-02-28", 9: "2024-02-29", 10: "2024-03-01", 11: "2024-03-02"})
    assert split_days(prepared(frame, tmp_path / "b")["NL"])["validation"] == ["2024-03-01"]


def refuse(frame: pd.DataFrame, folder: Path, message: str, **keys: Any) -> None:
    with pytest.raises(UserError, match=message):
        prepared(frame, folder, **keys)
    assert stores_in(folder / "data" / "shop") == []


def stores_in(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.glob("*") if child.name != ".prepare")


def with_value(column: str, row: int, value: Any) -> pd.DataFrame:
    frame = impressions(400).astype({column: object})
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(("value", "shown"), [(2, "'2'"), ("yes", "'yes'"), (None, "an empty value"), (0.5, "'0.5'")])
def test_a_label_that_is_not_0_or_1(tmp_path: Path, value: Any, shown: str) -> None:
    refuse(
        with_value("buy", 7, value), tmp_path, rf"log\.csv, line 9, column 'buy': got {shown}, expected a label 0 or 1"
    )


def test_unknown_scenario_values(tmp_path: Path) -> None:
    frame = with_value("country", 3, 9)
    refuse(frame, tmp_path, r"line 5, column 'country': got '9', expected one of 1, 2 \(or scenario\.others: drop\)")
    changes = {"scenario": {"column": "country", "values": {1: "NL", 2: "ES"}, "others": "drop"}}
    stores = prepared(frame, tmp_path, changes)
    assert sum(len(split) for store in stores.values() for split in store.splits.values()) == 399


def test_labels_of_dropped_rows_do_not_matter(tmp_path: Path) -> None:
    frame = with_value("click", 3, "broken")
    frame.loc[3, "country"] = 9
    changes = {"scenario": {"column": "country", "values": {1: "NL", 2: "ES"}, "others": "drop"}}
    assert list(prepared(frame, tmp_path, changes)) == ["ES", "NL"]


def test_scenarios_that_are_unknown_or_empty(tmp_path: Path) -> None:
    frame = impressions(400)
    refuse(frame, tmp_path, "scenario 'DE' is unknown to shop: it has ES, NL", scenarios=["DE"])
    refuse(frame, tmp_path, "no scenario was named", scenarios=[])
    refuse(frame[frame.country == 1], tmp_path, "scenario 'ES' has no rows .*--scenario")


def test_an_empty_split(tmp_path: Path) -> None:
    frame = impressions(400)
    frame = frame[(frame.country == 1) | (frame.day != 20240301)]
    refuse(frame, tmp_path, "scenario 'ES' has no rows in the validation split")


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_in_training(tmp_path: Path, label: int) -> None:
    frame = impressions(400)
    frame.loc[(frame.country == 1) & (frame.day < 20240301), "buy"] = label
    refuse(frame, tmp_path, rf"scenario 'NL', task 'ctcvr': all \d+ training rows have the label {label}")


def test_days_that_are_missing_too_few_or_too_late(tmp_path: Path) -> None:
    refuse(with_value("day", 0, None), tmp_path, "line 2, column 'day': got an empty value, expected a day")
    frame = impressions(400)
    refuse(frame[frame.day >= 20240301], tmp_path, "has 2 days .* 2 are held out and training needs one more")
    changes = {"split": {"by_date": {"column": "day", "validation": [20240229], "test": [20240301]}}}
    refuse(frame, tmp_path, "got '20240302', which is after the first held-out day", changes=changes)


def test_numbers_that_cannot_be_used(tmp_path: Path) -> None:
    refuse(with_value("price", 5, "cheap"), tmp_path, "line 7, column 'price': got 'cheap', expected a number")
    refuse(with_value("price", 5, -3.0), tmp_path, "line 7, column 'price': got '-3.0', but log1p needs values from 0")


def test_an_interrupted_run_leaves_the_old_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = impressions(400)
    before = {name: files(store) for name, store in prepared(frame, tmp_path).items()}

    def interrupted(*_args: object, **_keys: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StoreWriter, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared(impressions(400, seed=1), tmp_path)
    folder = tmp_path / "data" / "shop"
    assert stores_in(folder) == ["ES", "NL"]
    assert {name: files(ScenarioStore.open(folder / name)) for name in before} == before


def test_the_manifest_holds_no_local_value(tmp_path: Path) -> None:
    frame = impressions(400)
    frame["user"] = frame.user.map(lambda number: f"person-{number}")
    store = prepared(frame, tmp_path)["NL"]
    text = (store.folder / "manifest.json").read_text()
    assert "person-" not in text
    assert str(tmp_path) not in text
    assert json.loads(text)["extra"]["numeric"].keys() == {"price", "weight"}


def two_files(folder: Path, rows: int = 400) -> Path:
    source = folder / "source"
    source.mkdir(parents=True)
    for place in (1, 2):
        impressions(rows, seed=place).to_csv(source / f"log{place}.csv", index=False)
    return source


def split_days(store: ScenarioStore) -> dict[str, Any]:
    return cast(dict[str, Any], store.extra["split"])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files of the main table whose rows were read."""
    found: list[str] = []
    real: Callable[..., Iterator[Callable[[], Any]]] = vars(reading)["block_tasks"]  # what another patch left

    def recorded(source: Any, *more: Any) -> Iterator[Callable[[], Any]]:
        found.append(source.name)
        return real(source, *more)

    monkeypatch.setattr(reading, "block_tasks", recorded)
    return found


def interrupt_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real: Callable[..., Iterator[Callable[[], Any]]] = vars(reading)["block_tasks"]  # what another patch left

    def interrupted(source: Any, *more: Any) -> Iterator[Callable[[], Any]]:
        yield from real(source, *more)
        if source.name == name:
            raise KeyboardInterrupt

    monkeypatch.setattr(reading, "block_tasks", interrupted)


def parts_of(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in (folder / "data" / "shop" / ".prepare").glob("*/part-*/NL"))


SPLITS_OF_ROWS: dict[str, Any] = {"random": {"validation": 0.2, "test": 0.2}}  # by the row's number in all files


@pytest.mark.parametrize("split", [{}, {"split": SPLITS_OF_ROWS}])
def test_an_interrupted_run_goes_on_behind_the_last_finished_file(
    tmp_path: Path, reads: list[str], split: dict[str, Any]
) -> None:
    source = two_files(tmp_path)
    whole = {store.scenario: files(store) for store in prepare(schema(**split), source, tmp_path / "whole")}
    reads.clear()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_in(patch, "log2.csv")
        prepare(schema(**split), source, tmp_path / "data")
    assert reads == ["log1.csv", "log2.csv"]
    assert stores_in(tmp_path / "data" / "shop") == []
    assert len(parts_of(tmp_path)) == 1
    assert open_to_others(tmp_path / "data" / "shop") == []
    reads.clear()
    stores = prepare(schema(**split), source, tmp_path / "data")
    assert open_to_others(tmp_path / "data" / "shop") == []
    assert reads == ["log2.csv"]
    assert {store.scenario: files(store) for store in stores} == whole
    assert parts_of(tmp_path) == []


def test_a_file_or_schema_that_changed_meanwhile_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    source = two_files(tmp_path)

    def broken_off(**changes: Any) -> list[str]:
        reads.clear()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_in(patch, "log2.csv")
            prepare(schema(**changes), source, tmp_path / "data")
        return list(reads)

    assert broken_off() == ["log1.csv", "log2.csv"]
    assert broken_off() == ["log2.csv"]
    impressions(410, seed=9).to_csv(source / "log1.csv", index=False)
    assert broken_off() == ["log1.csv", "log2.csv"]
    assert broken_off(numeric={}) == ["log1.csv", "log2.csv"]
    reads.clear()
    expected = {store.scenario: files(store) for store in prepare(schema(), source, tmp_path / "whole")}
    stores = prepare(schema(), source, tmp_path / "data")
    assert {store.scenario: files(store) for store in stores} == expected
    assert parts_of(tmp_path) == []  # those of other files too


def test_rows_are_numbered_through_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = two_files(tmp_path)
    changes = {"split": SPLITS_OF_ROWS}
    frames = [impressions(400, seed=1), impressions(400, seed=2)]
    whole = prepared(pd.concat(frames), tmp_path / "one", changes)
    for store in prepare(schema(**changes), source, tmp_path / "data"):
        assert files(store) == files(whole[store.scenario])
    shorter = prepared(pd.concat([frames[0][:300], frames[1]]), tmp_path / "shorter", changes)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    frames[0].to_csv(source / "log1.csv", index=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # both files are read, nothing is written
        patch.setattr(StoreWriter, "append", interrupted)
        prepare(schema(**changes), source, tmp_path / "data")
    assert len(parts_of(tmp_path)) == 2
    frames[0][:300].to_csv(source / "log1.csv", index=False)  # the second one's rows have other numbers now
    for store in prepare(schema(**changes), source, tmp_path / "data"):
        assert files(store) == files(shorter[store.scenario])


def unchanged(status: os.stat_result) -> tuple[int, ...]:
    """All that stays where nothing is written; looking a store through changes when it was last read."""
    return status.st_ino, status.st_mode, status.st_nlink, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def test_what_was_prepared_before_is_left_as_it_is(tmp_path: Path, reads: list[str]) -> None:
    source = two_files(tmp_path)
    first = prepare(schema(), source, tmp_path / "data")
    before = [unchanged(store.folder.stat()) for store in first]
    reads.clear()
    again = prepare(schema(), source, tmp_path / "data")
    assert [(store.scenario, files(store)) for store in again] == [(store.scenario, files(store)) for store in first]
    assert [unchanged(store.folder.stat()) for store in again] == before
    assert reads == []
    os.utime(source / "log2.csv", ns=(1, 1))
    prepare(schema(), source, tmp_path / "data", scenarios=["NL"])
    assert reads == ["log1.csv", "log2.csv"]
    reads.clear()
    prepare(schema(), source, tmp_path / "data")  # the other one
    prepare(schema(), source, tmp_path / "data")
    assert reads == ["log1.csv", "log2.csv"]
    reads.clear()
    prepare(schema(title="Another"), source, tmp_path / "data")
    assert reads == ["log1.csv", "log2.csv"]


def test_two_at_once(tmp_path: Path, reads: list[str]) -> None:
    source = two_files(tmp_path)
    folder = tmp_path / "data" / "shop" / ".prepare"
    folder.mkdir(parents=True)
    lock = os.open(folder / "NL.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(UserError, match=r"^another process is preparing NL in .*data/shop: wait for it to end$"):
        prepare(schema(), source, tmp_path / "data")
    assert reads == []
    os.close(lock)
    assert len(prepare(schema(), source, tmp_path / "data")) == 2


@pytest.mark.parametrize("kind", ["gz", "zip", "folder in a zip"])
def test_packed_files_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    frame = impressions(400)
    plain = prepared(frame, tmp_path / "plain")
    text = (tmp_path / "plain" / "source" / "log.csv").read_bytes()
    source = tmp_path / "packed"
    source.mkdir()
    if kind == "gz":
        (source / "log.csv.gz").write_bytes(gzip.compress(text))
    else:
        with zipfile.ZipFile(source / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("shop/log.csv" if "folder" in kind else "log.csv", text)
    for store in prepare(schema(), source, tmp_path / "data"):
        assert files(store) == files(plain[store.scenario])


def test_damage_leaves_no_store(tmp_path: Path) -> None:
    source = two_files(tmp_path)
    text = (source / "log2.csv").read_bytes()
    for name, data, message in (
        ("log2.csv", text[:-9], r"log2\.csv, line 401: got \d column.?, expected 9: the file ends within the row"),
        ("log2.csv.gz", gzip.compress(text)[:-20], r"log2\.csv\.gz: the archive is damaged or incomplete"),
    ):
        (source / "log2.csv").unlink(missing_ok=True)
        (source / name).write_bytes(data)
        with pytest.raises(UserError, match=message):
            prepare(schema(), source, tmp_path / "data")
        assert stores_in(tmp_path / "data" / "shop") == []


def test_a_header_that_is_not_expected(tmp_path: Path) -> None:
    header = list(impressions(1).columns)
    table = {"files": ["log*.csv"], "header": header}
    hint = r": does the file begin with a header line\? It must not$"
    message = rf"log\.csv, line 1, column 'price': got 'price', expected a number{hint}"
    by_day = {"by_date": {"column": "day", "validation": [20240301], "test": [20240302]}}
    changes = {"table": table, "split": by_day, "times": {"day": {"form": "YYYYMMDD"}}}
    refuse(impressions(50), tmp_path / "a", message, changes=changes | {"scenario": {"names": ["NL"]}})
    message = rf"log\.csv, line 1, column 'country': got 'country', expected one of 1, 2 .*{hint}"
    refuse(impressions(50), tmp_path / "b", message, changes=changes | {"numeric": {}})


def with_side_table(folder: Path, how: str, side: pd.DataFrame) -> dict[str, ScenarioStore]:
    frame = impressions(400).drop(columns=["price", "weight"])
    (folder / "source").mkdir(parents=True)
    side.to_csv(folder / "source" / "items.csv", index=False)
    join = {"files": ["items.csv"], "key": "item", "key_there": "id", "how": how}
    return prepared(frame, folder, {"joins": [join]})


def test_an_inner_join_repeats_and_drops_rows(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    side = pd.DataFrame({"id": draw.integers(0, 700, 900), "price": np.arange(900.0), "weight": draw.normal(size=900)})
    stores = with_side_table(tmp_path / "joined", "inner", side)
    frame = impressions(400).drop(columns=["price", "weight"])
    flat = frame.merge(side, left_on="item", right_on="id", how="inner", sort=False)
    assert len(flat) not in {400, 0}
    expected = prepared(flat.drop(columns="id"), tmp_path / "flat")
    for name, store in stores.items():
        assert same_rows(store, expected[name])


def test_keys_of_a_side_table_that_match_nothing(tmp_path: Path) -> None:
    side = pd.DataFrame({"id": [f"item{number}" for number in range(50)], "price": 1.0, "weight": 2.0})
    for how in ("left", "inner"):
        with pytest.raises(UserError, match=r"items\.csv: its column 'id' matches no row of the main table's 'item'"):
            with_side_table(tmp_path / how, how, side)
        assert stores_in(tmp_path / how / "data" / "shop") == []


def test_scenarios_and_splits_with_files_of_their_own(tmp_path: Path) -> None:
    frame = impressions(800).drop(columns=["country", "day"])
    source = tmp_path / "source"
    for place, name in enumerate(("NL", "ES")):
        (source / name).mkdir(parents=True)
        frame[place * 400 :][:300].to_csv(source / name / "train.csv", index=False)
        frame[place * 400 + 300 :][:100].to_csv(source / name / "test.csv", index=False)
    changes = {
        "table": {"files": ["{scenario}/{split}.csv"]},
        "scenario": {"names": ["NL", "ES"]},
        "split": {"by_file": {"cut": {"share": 0.2, "key": "user"}}},
        "tasks": {"ctr": "click", "ctcvr": {"column": "buy", "scenarios": ["NL"]}},
    }
    stores = {store.scenario: store for store in prepare(schema(**changes), source, tmp_path / "data")}
    assert {name: store.tasks for name, store in stores.items()} == {"ES": ("ctr",), "NL": ("ctr", "ctcvr")}
    for place, name in enumerate(("NL", "ES")):
        splits = stores[name].splits
        assert len(splits["train"]) + len(splits["validation"]) == 300
        assert not set(np.asarray(splits["train"].users)) & set(np.asarray(splits["validation"].users))
        np.testing.assert_array_equal(splits["test"].labels[:, 0], frame.click[place * 400 + 300 :][:100])
    (source / "ES" / "test.csv").unlink()
    with pytest.raises(UserError, match=r"^no file 'ES/test\.csv' in .*; to prepare what is there: --scenario NL$"):
        prepare(schema(**changes), source, tmp_path / "data")


def positive_rows(folder: Path, per_positive: int) -> dict[str, ScenarioStore]:
    frame = impressions(400)
    frame.loc[frame.country == 1, ["click", "buy"]] = 1
    negatives = {"task": "ctr", "scenarios": ["NL"], "item": "item", "item_features": ["price"]}
    changes = {"negatives": negatives | {"per_positive": per_positive}, "tasks": {"ctr": "click"}}
    return prepared(frame, folder, changes)


def test_made_up_rows_follow_those_of_the_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task 'ctr': all \d+ training rows have the label 1, .*--negatives N"):
        positive_rows(tmp_path / "none", 0)
    stores = positive_rows(tmp_path / "two", 2)
    own = int((impressions(400).country == 1).sum())
    store = stores["NL"]
    assert store.extra["negatives"] == {"task": "ctr", "per_positive": 2, "rows": 2 * own}
    assert "negatives" not in stores["ES"].extra
    for split in SPLITS:
        (positive,) = store.positives(split)
        assert store.splits[split].labels[:, 0].tolist() == [1] * positive + [0] * 2 * positive


def test_a_copy_that_is_not_complete_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = int((impressions(400).country == 1).sum())
    with caplog.at_level(logging.WARNING):
        prepared(impressions(400), tmp_path / "a", {"expected_rows": {"NL": own}})
    assert "rows, the published" not in caplog.text
    with caplog.at_level(logging.WARNING):
        prepared(impressions(400), tmp_path / "b", {"expected_rows": {"NL": 12_000}})
    assert f"NL: got {own} rows, the published data set has about 12,000: is the copy complete?" in caplog.text


def with_side_column(folder: Path, column: str, **changes: Any) -> dict[str, ScenarioStore]:
    """Prepare with a column in a side table of users, of whom it knows all but one."""
    frame = impressions(400)
    side = frame[["user", column]].drop_duplicates("user").sort_values("user")
    frame = frame.merge(side, on="user", suffixes=("_main", ""))
    (folder / "source").mkdir(parents=True)
    side[1:].to_csv(folder / "source" / "users.csv", index=False)
    main = frame.drop(columns=[column, f"{column}_main"])
    return prepared(main, folder, {"joins": [{"files": ["users.csv"], "key": "user"}], **changes})


def test_a_row_of_which_the_side_table_tells_no_scenario(tmp_path: Path) -> None:
    refused = r"log\.csv: a row finds in its side table no 'country' or a wrong one, expected one for the scenario"
    with pytest.raises(UserError, match=refused):
        with_side_column(tmp_path / "a", "country")
    drop = {"scenario": {"column": "country", "values": {1: "NL", 2: "ES"}, "others": "drop"}}
    assert list(with_side_column(tmp_path / "b", "country", **drop)) == ["ES", "NL"]


def test_a_row_of_which_the_side_table_tells_no_day(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no 'day' or a wrong one, expected one for the split"):
        with_side_column(tmp_path, "day")


def test_a_file_for_two_splits(tmp_path: Path) -> None:
    source = two_files(tmp_path)
    (source / "log1.csv").rename(source / "train_test.csv")
    changes = {
        "table": {"files": ["*{split}*.csv"]},
        "split": {"by_file": {"cut": {"share": 0.1}}},
    }
    with pytest.raises(UserError, match=r"train_test\.csv is taken both for 'train' and for 'test'"):
        prepare(schema(**changes), source, tmp_path / "data")


def test_days_of_two_kinds(tmp_path: Path) -> None:
    refused = (
        r"log\.csv, line 5, column 'day': got '\?', expected a time as the others, in the form YYYYMMDD, such as 2024"
    )
    refuse(with_value("day", 3, "?"), tmp_path, refused)
    by_day = {"split": {"by_date": {"column": "day", "validation": [20240301], "test": [20240302]}}}
    refused = (
        r"line 5, column 'day': got '2024-02-28', expected a time as the others, in the form YYYYMMDD, such as 20240131"
    )
    refuse(with_value("day", 3, "2024-02-28"), tmp_path, refused, changes=by_day)


DAYS = {20240228: "2024-02-28", 20240229: "2024-02-29", 20240301: "2024-03-01", 20240302: "2024-03-02"}


def arrays(store: ScenarioStore) -> dict[str, bytes]:
    return {name: data for name, data in files(store).items() if name.endswith(".bin")}


@pytest.mark.parametrize(
    ("form", "write"),
    [
        ("iso", lambda times: times.dt.strftime("%Y-%m-%d %H:%M:%S")),
        ("iso", lambda times: times.dt.strftime("%Y-%m-%d").where(times.index % 2 == 0, times.astype(str))),
        ("iso-zone", lambda times: times.dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
        ("YYYY/MM/DD", lambda times: times.dt.strftime("%Y/%m/%d %H:%M")),
        ("DD.MM.YYYY", lambda times: times.dt.strftime("%d.%m.%Y")),
        ("YYMMDDHH", lambda times: times.dt.strftime("%y%m%d%H")),
        ("seconds", lambda times: times.astype("datetime64[ns]").astype("int64") / 1e9 + 0.25),
        ("milliseconds", lambda times: times.astype("datetime64[ns]").astype("int64") // 10**6),
    ],
)
def test_days_are_the_same_in_every_form(
    tmp_path: Path, form: str, write: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frame = impressions()
    before = arrays(prepared(frame, tmp_path / "a")["NL"])
    times = pd.to_datetime(frame.day.map(DAYS)) + pd.to_timedelta(frame.time % 100 + 60 * (frame.time // 100), "min")
    with caplog.at_level(logging.INFO, "pfmsmtrec"):
        store = prepared(frame.assign(day=write(times)), tmp_path / "b")["NL"]
    assert arrays(store) == before
    assert f"column 'day': times of the form {form}" in caplog.text
    declared = {"times": {"day": {"form": form}}}
    named = {"split": {"by_date": {"column": "day", "validation": ["2024-03-01"], "test": ["2024-03-02"]}}}
    assert arrays(prepared(frame.assign(day=write(times)), tmp_path / "c", declared | named)["NL"]) == before


@pytest.mark.parametrize("rule", ["by_date", "by_user_time"])
def test_typed_times_of_parquet(tmp_path: Path, rule: str) -> None:
    frame = impressions()
    times = pd.to_datetime(frame.day.map(DAYS)) + pd.to_timedelta(np.random.default_rng(1).permutation(len(frame)), "s")
    hour = {"hour": {"column": "at", "transform": "hour", "identity": {"size": 24}, "embedding": "federated"}}
    keys: dict[str, Any] = {"last_days": {}} if rule == "by_date" else {"validation": 0.2, "test": 0.2}
    found = []
    for form, typed in (("iso", times), ("iso-zone", times.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))):
        source = tmp_path / form
        source.mkdir()
        frame.assign(at=typed).to_parquet(source / "log.parquet")
        changes = {"split": {rule: {"column": "at", **keys}}, "times": {"at": {"form": form}}, "fields": hour}
        document = schema(table={"files": ["log.parquet"]}, **changes)
        found.append(arrays(prepare(document, source, source / "data", scenarios=["NL"])[0]))
    assert found[0] == found[1]


def test_two_forms_in_one_column_are_refused(tmp_path: Path) -> None:
    frame = impressions(400)
    frame["day"] = frame.day.map(DAYS)
    frame.loc[7, "day"] = frame.day[7].replace("-", "/")
    refused = (
        r"log\.csv, line 9, column 'day': got '2024/.*', expected a time as the others, in the form iso, such as 2024"
    )
    refuse(frame, tmp_path, refused)
    zoned = impressions(400).assign(day=[f"{day}T10:00:00{'Z' * (row != 5)}" for row, day in enumerate(frame.day)])
    refuse(
        zoned, tmp_path, r"line 7, column 'day': got '2024.*:00', expected a time as the others, in the form iso-zone"
    )


def test_the_day_of_the_month_orders_nothing(tmp_path: Path) -> None:
    frame = impressions(400)
    frame["day"] %= 100
    refuse(frame, tmp_path, r"log\.csv, line 2, column 'day': got '\d+', expected .*, no day of the month")
    by_time = {"split": {"by_user_time": {"column": "day", "validation": 0.2, "test": 0.2}}}
    refuse(frame, tmp_path, r"column 'day': got '\d+', expected .*, no day of the month", changes=by_time)


def test_the_last_rows_of_a_user_by_a_time_of_any_form(tmp_path: Path) -> None:
    frame = impressions()
    rule = {"split": {"by_user_time": {"column": "at", "validation": 0.2, "test": 0.3}}}
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.random.default_rng(3).permutation(len(frame)), "min")
    written: list[Any] = [times.as_unit("s").astype("int64"), times, times.strftime("%y%m%d%H")]
    stores = [
        arrays(prepared(frame.assign(at=at), tmp_path / str(number), rule)["NL"]) for number, at in enumerate(written)
    ]
    assert stores[0] == stores[1] != stores[2]  # hours are too coarse for the order


def test_fields_of_a_time(tmp_path: Path) -> None:
    frame = impressions()
    times = pd.Series(pd.Timestamp("2024-01-29 22:30") + pd.to_timedelta(frame.index, "h"))
    frame["at"] = times.astype("datetime64[ns]").astype("int64") // 10**9
    fields = {
        part: {"column": "at", "transform": part, "identity": {"size": size}, "embedding": "federated"}
        for part, size in (("hour", 24), ("weekday", 7), ("day", 32))
    }
    changes = {"times": {"at": {"form": "seconds", "zone": "Europe/Amsterdam"}}, "fields": fields}
    store = prepared(frame, tmp_path, changes)["NL"]
    local = times.dt.tz_localize("UTC").dt.tz_convert("Europe/Amsterdam").dt
    mine = (frame.country == 1) & (frame.day == 20240302)
    expected = np.stack([local.hour, local.day_of_week, local.day], axis=1)[mine] + 1
    np.testing.assert_array_equal(store.splits["test"].categorical, expected)
    frame.loc[5, "at"] = 12
    refuse(frame, tmp_path / "b", r"line 7, column 'at': got '12', expected a time as the others, in", changes=changes)


def test_times_are_no_days(tmp_path: Path) -> None:
    frame = impressions(12_000)
    frame["day"] = 1_650_485_801_301 + frame.index
    changes = {"times": {"day": {"form": "number"}}}
    refuse(frame, tmp_path, r"column 'day' has more than 10,000 days: is it a time\?", changes=changes)
    refuse(frame, tmp_path, r"column 'day' has 1 days \(2022-04-20\), but 2 are held out")


def test_a_number_that_is_too_large(tmp_path: Path) -> None:
    frame = with_value("price", 5, 1e60)
    refuse(
        frame,
        tmp_path / "a",
        r"line 7, column 'price': got '1e\+60', expected at most 1e\+30: name it in missing, or clip",
    )
    for number, spec in enumerate(({"missing": [1e60]}, {"clip": [0, 1000]})):
        store = prepared(frame, tmp_path / str(number), {"numeric": {"price": spec}})["NL"]
        assert np.abs(store.splits["train"].numeric).max() < 50


def test_a_damaged_store_is_prepared_again(tmp_path: Path) -> None:
    frame = impressions(400)
    store = prepared(frame, tmp_path)["NL"]
    whole = files(store)
    with (store.folder / "train.numeric.bin").open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(UserError, match="checksum"):
        ScenarioStore.open(store.path, verify=True)
    assert files(prepared(frame, tmp_path)["NL"]) == whole


def test_a_file_whose_rows_find_nothing_is_no_error_if_others_do(tmp_path: Path) -> None:
    frame = impressions(400)
    source = tmp_path / "source"
    source.mkdir()
    frame.to_csv(source / "log1.csv", index=False)
    frame.head(1).assign(user=99_999).to_csv(source / "log2.csv", index=False)
    frame[["user"]].drop_duplicates().assign(age=1).to_csv(source / "users.csv", index=False)
    changes = {"joins": [{"files": ["users.csv"], "key": "user"}], "numeric": {"age": {}}}
    stores = prepare(schema(**changes), source, tmp_path / "data")
    assert sum(len(split) for store in stores for split in store.splits.values()) == 401


def test_made_up_rows_do_not_make_a_rare_value_frequent(tmp_path: Path) -> None:
    one, other = (positive_rows(tmp_path / str(number), number)["NL"] for number in (1, 6))
    assert [field.size for field in one.fields] == [field.size for field in other.fields]


def test_rows_without_a_user_are_reported_and_drawn_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = impressions()
    frame["user"] = frame["user"].where(frame["user"] < 150).astype("Int64")
    lacking = frame[frame["country"] == 1]["user"].isna()
    rule = {"split": {"by_user": {"validation": 0.2, "test": 0.3}}}
    with caplog.at_level(logging.WARNING, "pfmsmtrec"):
        store = prepared(frame, tmp_path, rule, ["NL"])["NL"]
    assert f"NL: {lacking.sum():,} of {len(lacking):,} rows have no user: they are left out of the AUC" in caplog.text
    assert store.extra["rows_without_user"] == lacking.sum()
    users = {split: np.asarray(store.splits[split].users) for split in SPLITS}
    shares = np.array([(users[split] == -1).sum() for split in SPLITS]) / lacking.sum()
    np.testing.assert_allclose(shares, [0.5, 0.2, 0.3], atol=0.05)
    known = [set(own[own != -1]) for own in users.values()]
    assert not known[0] & known[1] and not known[1] & known[2] and not known[0] & known[2]
