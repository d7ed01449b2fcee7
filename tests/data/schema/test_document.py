"""Schemas: what is accepted, what is refused with one clear line, what the hash covers."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pfmsmtrec_flwr.data.schema.document import DatasetSchema, load_schema
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import dump_yaml, parse

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
    assert found.table.columns == {}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("fields.item", {"vocabulary": {}, "embedding": "federated"}, "cannot learn its vocabulary locally"),
        ("fields.item", {"embedding": "local"}, "exactly one of identity, hash, values, bands, vocabulary; got none"),
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
        ("split", {}, "exactly one of by_date, random, by_user, by_file, by_user_time; got none"),
        ("split", {"by_date": {"column": "day"}}, "either last_days, or both"),
        ("split", {"by_date": {"column": "day", "test": [1]}}, "either last_days, or both"),
        ("split", {"by_date": {"column": "day", "test": [1], "validation": ["1"]}}, "both in validation and in test"),
        ("split", {"random": {"key": "page", "validation": 0.5, "test": 0.5}}, "no training rows"),
        ("table.delimiter", ";;", "table.delimiter"),
        ("times", {"at": {"form": "iso"}}, "times: neither the split nor a field reads the column 'at'"),
        ("times", {"day": {"form": "%Y"}}, "key 'times.day.form'"),
        ("times", {"day": {"form": "iso", "zone": "UTC"}}, "zone is for iso-zone and numbers since 1970; iso is taken"),
        ("times", {"day": {"form": "seconds", "zone": "Mars"}}, "'Mars' is no time zone of this machine"),
        (
            "fields.weekday",
            {"column": "day", "transform": "weekday", "identity": {"size": 7}, "embedding": "federated"},
            r"fields\.weekday: transform weekday needs the form of the column's times, such as times: {day: {form",
        ),
        ("colour", "red", "unknown key 'colour'"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        schema(changed(path, value))
    assert str(error.value).startswith("shop.yaml: ")


@pytest.mark.parametrize(
    ("form", "field", "message"),
    [
        ("number", {}, "fields.part: transform hour does not go with the form number"),
        ("YYYYMMDD", {}, "fields.part: transform hour does not go with the form YYYYMMDD"),
        ("iso", {"several": {"most": 3}}, "fields.part: transform hour does not go with a field of several values"),
    ],
)
def test_times_without_parts(form: str, field: dict[str, Any], message: str) -> None:
    document = changed("times", {"day": {"form": form}})
    part = {"column": "day", "transform": "hour", "identity": {"size": 24}, "embedding": "federated"}
    document["fields"]["part"] = part | field
    with pytest.raises(UserError, match=message):
        schema(document)


@pytest.mark.parametrize("rule", [{"by_user": {}}, {"by_user_time": {"column": "at"}}])
def test_splits_by_user_need_users(rule: dict[str, dict[str, Any]]) -> None:
    ((name, keys),) = rule.items()
    document = changed("split", {name: keys | {"validation": 0.1, "test": 0.1}})
    assert getattr(schema(document).split, name) is not None
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
        ("tasks", {"ctr": {"column": "click", "scenarios": ["ES", "NL"]}}),
        ("negatives", {"task": "ctr", "scenarios": ["NL"], "item": "item"}),
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
        ("tasks", {"ctr": {"column": "action", "positive": [1, 2], "negative": ["none"]}}),
        ("expected_rows", {"NL": 5}),
        ("numeric.price.column", "cents"),
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
    with pytest.raises(UserError, match=r"not found: expected one of .*kuairand"):
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


NEGATIVES: dict[str, Any] = {"task": "ctr", "scenarios": ["NL"], "item": "item", "item_features": ["kind", "price"]}


@pytest.mark.parametrize(
    "changes", [{"per_positive": 2}, {"seed": 1}, {"scenarios": ["ES", "NL"]}, {"item_features": ["kind"]}]
)
def test_the_hash_covers_how_negatives_are_made_up(changes: dict[str, Any]) -> None:
    hashes = [schema(changed("negatives", each)).schema_hash for each in (NEGATIVES, NEGATIVES | changes)]
    assert hashes[0] != hashes[1]


def test_the_hash_covers_which_scenarios_have_a_task_in_any_order() -> None:
    both, order, one = (
        schema(changed("tasks", {"ctr": "click", "buy": {"column": "buy", "scenarios": names}})).schema_hash
        for names in (["NL", "ES"], ["ES", "NL"], ["NL"])
    )
    assert both == order
    assert both != one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "buy"}, "negatives.task: 'buy' is no task, there are ctr"),
        ({"item": "price"}, "negatives.item: 'price' is no field"),
        ({"item_features": ["kind", "size"]}, "negatives.item_features: 'size' is neither a field nor numeric"),
        ({"scenarios": ["DE"]}, "negatives: scenario 'DE' is unknown, there are ES, NL"),
        ({"per_positive": -1}, "negatives.per_positive"),
    ],
)
def test_negatives_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        schema(changed("negatives", NEGATIVES | changes))


def test_negatives_need_users() -> None:
    document = changed("negatives", NEGATIVES)
    assert schema(document).negatives is not None
    del document["users"]
    with pytest.raises(UserError, match="negatives needs the key users"):
        schema(document)


def test_tasks_of_a_scenario() -> None:
    found = schema(changed("tasks", {"ctr": "click", "buy": {"column": "buy", "scenarios": ["NL"]}}))
    assert [list(found.tasks_of(name)) for name in ("ES", "NL")] == [["ctr"], ["ctr", "buy"]]
    assert found.tasks["ctr"].column == "click"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("tasks", {"ctr": {"column": "click", "scenarios": ["NL"]}}, "scenario 'ES' has no task"),
        ("tasks", {"ctr": {"column": "click", "scenarios": ["DE"]}}, "tasks.ctr: scenario 'DE' is unknown"),
        ("fields.item.scenarios", ["DE"], "fields.item: scenario 'DE' is unknown"),
        ("numeric.price.scenarios", ["DE"], "numeric.price: scenario 'DE' is unknown"),
        ("expected_rows", {"DE": 5}, "expected_rows: scenario 'DE' is unknown"),
        ("expected_rows", {"NL": 0}, "expected_rows.NL"),
        ("tasks", {}, "key 'tasks'"),
        ("tasks", ["click"], "key 'tasks'"),
        ("fields", {"x_{1..2}": {"column": "y_{1..3}"}}, "'x_{1..2}' stands for 2 names, its column 'y_{1..3}' for 3"),
        ("numeric", {"x_{1..2}": {}, "x_1": {}}, "'x_1' occurs twice"),
        ("numeric", {"x_{2..1}": {}}, "'x_{2..1}' runs backwards"),
    ],
)  # fmt: skip
def test_mistakes_of_scenarios_and_runs_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^shop.yaml: .*{re.escape(message)}"):
        schema(changed(path, value))


def test_runs_are_written_out() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["fields"]["x_{1..2}"] = {"column": "y_{8..9}", "identity": {"size": 2}, "embedding": "local"}
    document["numeric"]["z_{0..1}"] = {"transform": "log1p"}
    found = schema(document)
    assert [*found.fields] == ["user", "item", "kind", "x_1", "x_2"]
    assert found.feature_columns() == {
        **{name: (name,) for name in ("user", "item", "kind", "price", "z_0", "z_1")},
        "x_1": ("y_8",),
        "x_2": ("y_9",),
    }


def with_files(files: str, join: str = "", names: list[str] | None = None, by_file: bool = False) -> DatasetSchema:
    document = changed("table.files", files.split())
    if join:
        document["joins"] = [{"files": [join], "key": "user"}]
    if names:
        document["scenario"] = {"names": names}
    if by_file:
        document["split"] = {"by_file": {"cut": {"share": 0.1}}}
    return schema(document)


def test_marks_in_the_names_of_files() -> None:
    assert with_files("log.csv", names=["NL"]).scenarios == ("NL",)
    assert with_files("{scenario}.csv", names=["NL"]).scenarios == ("NL",)
    found = with_files("{scenario}_{split}.csv", "users.csv", names=["NL", "ES"], by_file=True)
    assert found.units(["ES", "NL"]) == [("ES",), ("NL",)]
    assert with_files("{split}.csv", "{split}_users.csv", by_file=True).units(["ES", "NL"]) == [("ES", "NL")]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"files": "{scenario}.csv"}, "{scenario} in the name of a file needs several scenario.names"),
        ({"files": "a.csv", "join": "{scenario}.csv"}, "{scenario} in the name of a file needs several scenario.names"),
        ({"files": "a.csv", "names": ["NL", "ES"]}, "several scenario.names needs {scenario} in each of table.files"),
        ({"files": "{scenario}.csv a.csv", "names": ["NL", "ES"]}, "needs {scenario} in each of table.files"),
        ({"files": "{split}.csv"}, "{split} in the name of a file needs split.by_file"),
        ({"files": "a.csv", "join": "{split}.csv"}, "{split} in the name of a file needs split.by_file"),
        ({"files": "a.csv", "by_file": True}, "split.by_file needs {split} in each of table.files"),
    ],
)
def test_marks_that_are_missing_or_mean_nothing(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        with_files(**keys)


def put(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_a_schema_that_extends_another(tmp_path: Path) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["fields"]["x_{1..2}"] = {"identity": {"size": 2}, "embedding": "local"}
    base = put(tmp_path / "base.yaml", document)
    own = {
        "extends": str(base),
        "title": "Mine",
        "tasks": {"buy": "buy"},
        "fields": {"x_2": {"identity": {"size": 9}, "embedding": "local"}, "y": {"values": [1], "embedding": "local"}},
    }
    found = load_schema(put(tmp_path / "mine.yaml", own))
    assert (found.name, found.title, [*found.tasks]) == ("shop", "Mine", ["buy"])
    assert [*found.fields] == ["user", "item", "kind", "x_1", "x_2", "y"]
    assert [found.fields[name].identity.size for name in ("x_1", "x_2")] == [2, 9]  # type: ignore[union-attr]
    assert [*found.numeric] == ["price"]
    twice = load_schema(put(tmp_path / "more.yaml", {"extends": str(tmp_path / "mine.yaml"), "title": "More"}))
    assert (twice.title, [*twice.tasks], [*twice.fields]) == ("More", ["buy"], [*found.fields])


def test_extending_what_is_not_there_or_itself(tmp_path: Path) -> None:
    path = put(tmp_path / "mine.yaml", {"extends": "nothing"})
    with pytest.raises(UserError, match="data set 'nothing' not found: expected one of"):
        load_schema(path)
    other = put(tmp_path / "other.yaml", {"extends": str(path)})
    put(path, {"extends": str(other)})
    with pytest.raises(UserError, match=r"mine\.yaml: key 'extends': it extends itself$"):
        load_schema(path)


def test_runs_that_do_not_fit_where_a_schema_extends_another(tmp_path: Path) -> None:
    base = put(tmp_path / "base.yaml", DOCUMENT)
    path = put(tmp_path / "mine.yaml", {"extends": str(base), "fields": {"x_{1..3}": {"column": "y_{1..2}"}}})
    with pytest.raises(UserError, match=r"mine\.yaml: key 'fields': 'x_\{1\.\.3\}' stands for 3 names, its column"):
        load_schema(path)


def test_negatives_asked_for_on_the_command_line(tmp_path: Path) -> None:
    path = put(tmp_path / "mine.yaml", changed("negatives", NEGATIVES))
    assert [load_schema(path, negatives=number).negatives.per_positive for number in (0, 4)] == [0, 4]  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"other\.yaml has no section negatives, .*: leave out --negatives$"):
        load_schema(put(tmp_path / "other.yaml", DOCUMENT), negatives=4)


def test_a_name_is_a_field_or_numeric() -> None:
    with pytest.raises(UserError, match="'price' is both in fields and in numeric"):
        schema(changed("fields.price", {"identity": {"size": 3}, "embedding": "local"}))


def test_a_schema_is_extended_beside_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(dump_yaml(DOCUMENT))
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nname: mine\n")
    found = load_schema(tmp_path / "mine.yaml")
    assert (found.name, found.title, found.fields) == ("mine", "Shop", schema().fields)


def test_a_message_does_not_repeat_the_whole_document() -> None:
    document = copy.deepcopy(DOCUMENT)
    del document["users"]
    document["split"] = {"by_user": {"validation": 0.1, "test": 0.1}}
    with pytest.raises(UserError, match=r"^shop\.yaml: key '\(document\)': split\.by_user needs the key users$"):
        schema(document)


WRITTEN = """
name: shop
title: Shop
licence: ours
url: none
table: {files: ["*.csv"]}
scenario: {column: country, values: {NO: NO, SE: SE, 010: IT}}
tasks: {ctr: {column: click, positive: [yes, true], negative: [no, False]}}
split: {by_date: {column: day, validation: [2024-01-05], test: [2024-01-06]}}
fields:
  code: {values: [010, 011, 0x1F, 12:30, 1.50, 1e5, 1_000, +7, 7.5, 8], embedding: federated}
expected_rows: {NO: 1_000}
"""


def test_values_are_those_that_are_written(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(WRITTEN)
    found = load_schema(tmp_path / "shop.yaml")
    assert found.fields["code"].values == ("010", "011", "0x1F", "12:30", "1.50", "1e5", "1_000", "+7", 7.5, 8)
    assert found.scenario.values == {"NO": "NO", "SE": "SE", "010": "IT"}
    assert found.tasks["ctr"].positive == ("yes", "true")
    assert found.tasks["ctr"].negative == ("no", "false")
    assert found.split.by_date is not None
    assert (found.split.by_date.validation, found.split.by_date.test) == (("2024-01-05",), ("2024-01-06",))
    assert found.expected_rows == {"NO": 1000}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("missing: [NULL]", "key 'fields.code.missing.0': got null; expected a value: write it in quotes"),
        ("column: 301", "key 'fields.code.column': got 301; input should be a valid string: write it in quotes"),
        ("column: true", "key 'fields.code.column': got True; input should be a valid string: write it in quotes"),
    ],
)
def test_what_is_no_value_is_to_be_quoted(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "shop.yaml").write_text(WRITTEN.replace("code: {", f"code: {{{line}, "))
    with pytest.raises(UserError, match=re.escape(message)):
        load_schema(tmp_path / "shop.yaml")


SKIPPED = {"column": "click", "unlabelled": "skip"}


@pytest.mark.parametrize(
    ("path", "value", "where", "zeros_of"),
    [
        ("scenario.values", {1: "NL", "01": "ES"}, "scenario.values: '1' and '01'", "country"),
        ("scenario.values", {"5.0": "NL", " 5": "ES"}, "scenario.values: '5.0' and ' 5'", None),
        ("fields.kind.values", ["a", "True", "true"], "fields.kind.values: 'True' and 'true'", None),
        ("tasks.ctr", {"column": "click", "positive": [1], "negative": ["01", 0]}, "tasks.ctr: '1' and '01'", "click"),
        ("tasks.ctr", SKIPPED | {"missing": ["-1", "1.0"]}, "tasks.ctr: '1.0' and '1'", None),
        ("tasks.ctr", SKIPPED | {"missing": ["00"]}, "tasks.ctr: '00' and '0'", "click"),
    ],
)
def test_one_value_in_two_spellings_is_refused(path: str, value: Any, where: str, zeros_of: str | None) -> None:
    zeros = f", or keep leading zeros with table.columns: {{{zeros_of}: {{leading_zeros: keep}}}}"
    message = f"{where} are one value: leave one out{zeros if zeros_of else ''}"
    with pytest.raises(UserError, match=f"{re.escape(message)}$"):
        schema(changed(path, value))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"values": ["a", "b"], "missing": ["b"]}, "fields.kind: 'b' is in values and in missing: leave it out of one"),
        ({"values": [1, 2], "missing": ["02"]}, "fields.kind: '2' is in values and in missing: leave it out of one"),
        ({"values": ["a", "Abc"], "transform": "lower"}, "fields.kind.values: got 'Abc', expected lower case"),
    ],
)
def test_declared_values_that_no_row_can_have_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        schema(changed("fields.kind", {"embedding": "federated", **keys}))


def test_several_numbers_have_no_form_of_their_own() -> None:
    document = changed("table.columns", {"kind": {"decimal": ","}})
    assert schema(document).form_of("kind").is_number
    document["fields"]["kind"]["several"] = {"separator": "|", "most": 2}
    with pytest.raises(UserError, match=r"fields\.kind: decimal, thousands and signs are for one number"):
        schema(document)


def test_a_missing_number_beside_a_threshold_is_no_second_spelling() -> None:
    assert schema(changed("tasks.ctr", SKIPPED | {"at_least": 4, "missing": ["1.0"]})).tasks[
        "ctr"
    ].missing_numbers() == [1]


def test_leading_zeros_that_are_kept() -> None:
    document = changed("table.columns", {"country": {"leading_zeros": "keep"}, "kind": {"leading_zeros": "keep"}})
    document["scenario"]["values"] = {1: "NL", "01": "ES"}
    document["fields"]["kind"]["values"] = [1, "01"]
    found = schema(document)
    assert found.form_of("kind").leading_zeros == "keep"
    assert found.form_of("item").leading_zeros == "drop"
    document["table"]["columns"].pop("kind")
    document["fields"]["kind"]["values"] = [1, 2]
    plain = schema(document).schema_hash
    document["table"]["columns"]["kind"] = {"leading_zeros": "keep"}
    assert schema(document).schema_hash != plain
    document["table"]["columns"]["kind"] = {"missing": ["none"]}  # the form of a file is no matter of others
    assert schema(document).schema_hash == plain


def test_columns_that_a_scenario_writes_in_another_way() -> None:
    document = changed("scenario", {"names": ["NL", "DE"]})
    document["table"] = {"files": ["{scenario}.csv"], "columns": {"a": {"signs": ["$"]}}}
    plain = schema(document).schema_hash
    document["table"]["columns_of"] = {"NL": {"price_{1..2}": {"decimal": ","}, "a": {"signs": ["€"]}}}
    found = schema(document)
    assert found.schema_hash == plain and found.written_by("DE") == found
    written = found.written_by("NL").table.columns
    assert {name: (form.decimal, form.signs) for name, form in written.items()} == {
        "a": (".", ("€",)),
        "price_1": (",", ()),
        "price_2": (",", ()),
    }
    document["table"]["columns_of"] = {"NL": {"a": {"leading_zeros": "keep"}}}
    with pytest.raises(UserError, match=r"table\.columns_of: 'a' keeps leading zeros in some scenarios only"):
        schema(document)
    document["table"]["columns_of"] = {"FR": {"a": {"decimal": ","}}}
    with pytest.raises(UserError, match=r"table\.columns_of: got 'FR', expected one of scenario\.names, whose files"):
        schema(document)


def test_both_keys_of_a_join_keep_their_zeros() -> None:
    join = {"files": ["items.csv"], "key": "item"}
    document = changed("joins", [join])
    document["table"]["columns"] = {"item": {"leading_zeros": "keep"}}
    with pytest.raises(UserError, match="the key 'item' keeps leading zeros in one of its tables only"):
        schema(document)
    document["joins"] = [join | {"columns": {"item": {"leading_zeros": "keep"}}}]
    assert schema(document).joins[0].form_of("item") == schema(document).form_of("item")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"missing": ["", "NULL"]}, "missing is for single columns, such as columns: {user_id: {missing: [unknown]}}"),
        ({"columns": {"a": {"decimal": ",", "thousands": ","}}}, "thousands: got ',', expected a sign that no number"),
        ({"columns": {"a": {"thousands": "1"}}}, "thousands: got '1', expected a sign that no number has otherwise"),
        ({"columns": {"a": {"signs": ["€ "]}}}, "signs: got '€ ', expected signs such as € or % without blanks"),
        ({"columns": {"a": {"signs": ["€"], "leading_zeros": "keep"}}}, "leading_zeros: keep is for texts"),
        ({"columns": {"a_{1..2}": {}, "a_1": {}}}, "'a_1' occurs twice"),
    ],
)
def test_forms_of_columns_that_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        schema(changed("table", {"files": ["*.csv"]} | table))


def test_forms_of_a_run_of_columns() -> None:
    found = schema(changed("table", {"files": ["*.csv"], "missing": [""], "columns": {"a_{1..2}": {"decimal": ","}}}))
    assert list(found.table.columns) == ["a_1", "a_2"]
    assert found.table.form_of("b").model_dump(exclude_defaults=True) == {}
