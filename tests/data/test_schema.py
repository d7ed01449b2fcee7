"""Schemas: what is accepted, what is refused with one clear line, what the hash covers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from pfmsmtrec_flwr.data.schema import DatasetSchema, load_schema
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse

DOCUMENT: dict[str, Any] = {
    "name": "shop",
    "title": "Shop",
    "licence": "ours",
    "url": "none",
    "table": {"files": ["*.csv"]},
    "scenario": {"column": "country", "values": {1: "NL", "es": "ES"}},
    "tasks": {"ctr": "click"},
    "users": "user",
    "split": {"by_date": {"column": "day", "last_days": {"test": 1, "validation": 1}}},
    "fields": {
        "user": {"vocabulary": {"min_count": 2}, "embedding": "local"},
        "item": {"hash": {"buckets": 100, "seed": 3}, "embedding": "federated"},
        "kind": {"values": ["a", "b"], "embedding": "federated"},
    },
    "numeric": {"price": {"transform": "log1p", "clip": [0, 1000], "missing": [-1]}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    *sections, last = path.split(".")
    inner = document
    for section in sections:
        inner = inner[section]
    inner[last] = value
    return document


def schema(document: dict[str, Any] = DOCUMENT) -> DatasetSchema:
    return parse(DatasetSchema, document, "shop.yaml")


def test_a_sound_schema() -> None:
    found = schema()
    assert found.scenarios == ("ES", "NL")
    assert found.numeric["price"].clip == (0.0, 1000.0)
    assert found.table.missing == ("",)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("fields.item", {"vocabulary": {}, "embedding": "federated"}, "cannot learn its vocabulary locally"),
        ("fields.item", {"embedding": "local"}, "exactly one of identity, hash, values, vocabulary; got none"),
        ("fields.item", {"identity": {"size": 3}, "hash": {"buckets": 2}, "embedding": "local"}, "identity, hash"),
        ("fields.item", {"identity": {"size": 3}}, "key 'fields.item.embedding' is missing"),
        ("fields.item", {"identity": {"size": 0}, "embedding": "local"}, "fields.item.identity.size"),
        ("fields.item", {"values": [], "embedding": "local"}, "values is empty"),
        ("fields.click", {"values": [0, 1], "embedding": "local"}, "the label would be a feature"),
        ("numeric.x", {"column": "click"}, "the label would be a feature"),
        ("numeric.price.clip", [2, 1], "first must be below"),
        ("numeric.price.transform", "exp", "numeric.price.transform"),
        ("scenario.values", {1: "NL", 2: "NL"}, "must not repeat"),
        ("scenario.values", {1: "../NL"}, "scenario.values"),
        ("name", "a/b", "key 'name'"),
        ("split", {}, "exactly one of by_date, random, by_user, by_file; got none"),
        ("split", {"by_date": {"column": "day"}}, "either last_days, or both"),
        ("split", {"by_date": {"column": "day", "test": [1]}}, "either last_days, or both"),
        ("split", {"by_date": {"column": "day", "test": [1], "validation": ["1"]}}, "both in validation and in test"),
        ("split", {"random": {"key": "page", "validation": 0.5, "test": 0.5}}, "no training rows"),
        ("table.delimiter", ";;", "table.delimiter"),
        ("colour", "red", "unknown key 'colour'"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        schema(changed(path, value))
    assert str(error.value).startswith("shop.yaml: ")


def test_split_by_user_needs_users() -> None:
    document = changed("split", {"by_user": {"validation": 0.1, "test": 0.1}})
    assert schema(document).split.by_user is not None
    del document["users"]
    with pytest.raises(UserError, match="needs the key users"):
        schema(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fields.item.hash.seed", 4),
        ("fields.item.hash.buckets", 101),
        ("fields.item.missing", [0]),
        ("fields.item.embedding", "local"),
        ("fields.kind.values", ["b", "a"]),
        ("fields.extra", {"identity": {"size": 2}, "embedding": "local"}),
        ("numeric.price.transform", "none"),
        ("numeric.weight", {}),
        ("tasks", {"ctr": "click", "ctcvr": "buy"}),
    ],
)
def test_the_hash_covers_what_must_agree(path: str, value: Any) -> None:
    assert schema(changed(path, value)).schema_hash != schema().schema_hash


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fields.user.vocabulary.min_count", 9),
        ("fields.item.column", "article"),
        ("table.files", ["*.parquet"]),
        ("scenario.values", {7: "NL"}),
        ("title", "Another"),
    ],
)
def test_the_hash_leaves_out_what_is_local(path: str, value: Any) -> None:
    assert schema(changed(path, value)).schema_hash == schema().schema_hash


def test_the_hash_covers_the_order_of_fields() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["fields"] = dict(reversed(document["fields"].items()))
    assert schema(document).schema_hash != schema().schema_hash


def test_load_by_name_and_by_path(tmp_path: Path) -> None:
    assert load_schema("kuairand").scenarios == ("tab0", "tab1", "tab2", "tab4", "tab6")
    file = tmp_path / "mine.yaml"
    file.write_text("name: x")
    with pytest.raises(UserError, match=r"mine\.yaml: key 'title' is missing"):
        load_schema(file)


@pytest.mark.parametrize("name", ["nothing", "../conf/synthetic", "/nowhere/x.yaml"])
def test_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(UserError, match=r"not found: give one of .*kuairand"):
        load_schema(name)


def test_nothing_known_only_after_the_outcome_is_a_feature_of_kuairand() -> None:
    found = load_schema("kuairand")
    read = {spec.column or name for name, spec in found.fields.items()} | set(found.numeric)
    outcomes = {
        *("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"),
        *("play_time_ms", "duration_ms", "profile_stay_time", "comment_stay_time", "is_profile_enter", "time_ms"),
    }
    assert not read & outcomes
    assert found.fields["user_id"].embedding == "local"
