"""Drafts of schemas: what is guessed from names and values, that nothing personal gets in, and that a draft works."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pfmsmtrec_flwr.data.draft import profile as profiling
from pfmsmtrec_flwr.data.draft.draft import Draft, draft, entry, quoted, schema_path
from pfmsmtrec_flwr.data.draft.names import (
    ITEM_WORDS,
    LABEL_WORDS,
    SCENARIO_WORDS,
    USER_WORDS,
    personal,
    spoken,
    subject,
)
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import load_yaml

ROWS = 3000


def shop(rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    click = draw.random(rows) < 0.3
    days = [f"2024-01-{day:02}" for day in range(1, 9)]
    frame = pd.DataFrame(
        {
            "day": draw.choice(days, rows),
            "country": draw.choice(["NL", "DE", "NO"], rows),
            "customer_id": draw.integers(0, 400, rows),
            "item": draw.integers(1000, 1700, rows),
            "kind": draw.choice(["toys", "books"], rows),
            "hour": draw.integers(0, 24, rows),
            "price": np.round(np.exp(draw.normal(3, 1.5, rows)), 2),
            "clicked": click.astype(int),
            "bought": (click & (draw.random(rows) < 0.4)).astype(int),
        }
    )
    return frame.assign(**columns)


def drafted(frame: pd.DataFrame, folder: Path, **csv: Any) -> Draft:
    path = folder / "shop.csv"
    frame.to_csv(path, index=False, **csv)
    return draft(path)


def document(found: Draft) -> dict[str, Any]:
    read: dict[str, Any] = load_yaml(found.text)
    return read


def left_out(found: Draft) -> dict[str, str]:
    return dict(re.findall(r"^# - (.*?): (.*)$", found.text, re.MULTILINE))


def some(rows: int = ROWS, *, of: int, start: int = 0, seed: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(start, start + of, rows)


PIPES = {"separator": "|", "most": 3}


def joined(*parts: str | int) -> list[str]:
    """Up to three of the parts in each row."""
    draw = np.random.default_rng(0)
    return ["|".join(map(str, draw.permutation(parts)[: draw.integers(0, 4)])) for _ in range(ROWS)]


def test_a_sane_table_becomes_this(tmp_path: Path) -> None:
    frame = shop()
    found = drafted(frame, tmp_path)
    assert document(found) == {
        "name": "shop",
        "title": "shop",
        "licence": "ask its owner",
        "url": "none",
        "table": {"files": ["shop.csv"]},
        "scenario": {"column": "country", "values": {"DE": "DE", "NL": "NL", "NO": "NO"}},
        "tasks": {"clicked": "clicked", "bought": "bought"},
        "users": "customer_id",
        "times": {"day": {"form": "iso"}},
        "split": {"by_date": {"column": "day", "last_days": {"validation": 1, "test": 1}}},
        "fields": {
            "customer_id": {"vocabulary": {"min_count": 2}, "embedding": "local"},
            "item": {"hash": {"buckets": 2048}, "embedding": "federated"},
            "kind": {"values": ["books", "toys"], "embedding": "federated"},
            "hour": {"identity": {"size": 32}, "embedding": "federated"},
        },
        "numeric": {"price": {"transform": "log1p"}},
    }
    assert (found.rows, found.left_out, found.source) == (ROWS, 0, tmp_path)
    assert found.summary() == "3 scenarios, 2 tasks, 3 federated fields, 1 local field, 1 numeric column; 0 left out"
    share = f"{100 * frame.clicked.mean():.3g} % ones; name contains 'clicked'"
    assert f"  clicked: clicked # 2 values, 0 and 1, {share}\n" in found.text
    assert max(map(len, found.text.splitlines())) <= 120


def test_what_is_written_is_a_schema_and_prepares(tmp_path: Path) -> None:
    frame = shop()
    found = drafted(frame, tmp_path)
    found.write(tmp_path / "shop.yaml")
    schema = load_schema(tmp_path / "shop.yaml")
    assert schema == found.schema
    stores = prepare(schema, found.source, tmp_path / "data")
    assert {store.scenario: sum(map(len, store.splits.values())) for store in stores} == dict(
        frame.country.value_counts()
    )
    for store in stores:
        test = frame[(frame.country == store.scenario) & (frame.day == "2024-01-08")]
        assert store.positives("test") == (test.clicked.sum(), test.bought.sum())


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    found = drafted(shop(300), tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    with pytest.raises(UserError, match=r"mine\.yaml is there already, .*: choose another --output"):
        found.write(path)
    with pytest.raises(UserError, match="is there already"):
        schema_path(tmp_path / "shop.csv", path, "")
    assert path.read_text() == "mine"
    with pytest.raises(UserError, match=r"cannot write .*: No such file"):
        found.write(tmp_path / "nowhere" / "shop.yaml")


def test_where_the_schema_goes() -> None:
    assert schema_path(Path("logs/my shop.csv.gz"), None, "") == Path("my-shop.yaml")
    assert schema_path(Path("logs/shop.csv"), None, "other") == Path("other.yaml")
    with pytest.raises(UserError, match=r"got the output 'shop\.txt', expected a file that ends in \.yaml"):
        schema_path(Path("shop.csv"), Path("shop.txt"), "")
    for name in ("../up", "a b", "-x", "a\n"):
        with pytest.raises(UserError, match="expected letters, digits"):
            schema_path(Path("shop.csv"), None, name)


# Labels


def test_labels_are_named_ones_the_most_frequent_first(tmp_path: Path) -> None:
    frame = shop(is_new=some(of=2), is_like=(some(of=10) < 5).astype(int))
    read = document(drafted(frame, tmp_path))
    assert list(read["tasks"]) == ["is_like", "clicked", "bought"]
    assert read["fields"]["is_new"] == {"identity": {"size": 2}, "embedding": "federated"}


def test_the_last_column_of_0_and_1_where_no_name_says(tmp_path: Path) -> None:
    found = drafted(shop().rename(columns={"clicked": "a", "bought": "b"}), tmp_path)
    assert document(found)["tasks"] == {"b": "b"}
    assert "no name suggests a label, and this is the last candidate" in found.text
    assert document(found)["fields"]["a"] == {"identity": {"size": 2}, "embedding": "federated"}
    assert "a label, or known only after the impression? Then remove it" in found.text


def test_labels_that_are_true_or_false(tmp_path: Path) -> None:
    frame = shop()
    frame = frame.assign(clicked=frame.clicked == 1).drop(columns="bought")
    found = drafted(frame, tmp_path)
    assert document(found)["tasks"] == {"clicked": "clicked"}
    store = prepare(found.schema, tmp_path, tmp_path / "data")[0]
    assert store.positives("test")[0] == (frame.clicked & (frame.country == "DE") & (frame.day == "2024-01-08")).sum()


def test_a_label_must_vary_and_have_no_gap(tmp_path: Path) -> None:
    gaps = shop().clicked.where(some(of=9) > 0)
    with pytest.raises(UserError, match=r"no column can be a label: got day, .* expected one that holds just 0"):
        drafted(shop(clicked=gaps, bought=1), tmp_path)


def test_labels_that_are_yes_or_no(tmp_path: Path) -> None:
    frame = shop()
    found = drafted(frame.assign(bought=np.array(["N", "Y"])[frame.bought]), tmp_path)
    assert document(found)["tasks"] == {
        "clicked": "clicked",
        "bought": {"column": "bought", "positive": ["Y"], "negative": ["N"]},
    }
    assert "bought" not in document(found)["fields"]
    stores = prepare(found.schema, tmp_path, tmp_path / "data")
    assert sum(store.positives(split)[1] for store in stores for split in store.splits) == frame.bought.sum()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0, 1, None], "2 values, 0, 1; no value in 1,000 of 3,000 rows; a task with unlabelled: skip is trained"),
        (["N", "Y", None], "2 values, N, Y; no value in 1,000 of 3,000 rows; a task with unlabelled: skip is trained"),
        ([1, None, None], "1 value, 1; no value in 2,000 of 3,000 rows; a task says which of its values are positive"),
        ([-1, 0, 1], "3 values, -1, 0, 1; a task says which of its values are positive, and which are negative"),
        (["liked", "not", "not"], "2 values, liked, not; a task says which of its values are positive"),
        (["N", "Y", "unknown"], "3 values, N, Y, unknown; a task says which of its values are positive"),
        (["no", "Yes", "yes"], "3 values, Yes, no, yes; a task says which of its values are positive"),
    ],
)
def test_what_looks_like_a_label_is_no_feature(tmp_path: Path, values: list[Any], reason: str) -> None:
    found = drafted(shop(is_liked=pd.Series(values * (ROWS // 3), dtype=object)), tmp_path)
    read = document(found)
    assert list(read["tasks"]) == ["clicked", "bought"]
    assert "is_liked" not in read["fields"]
    assert "is_liked" not in read["numeric"]
    assert f"- is_liked: looks like a label: name contains 'liked', {reason}" in found.text.replace("\n# ", " ")


@pytest.mark.parametrize("name", ["isclick", "hasOrdered", "clickflag", "ctr", "y", "is_hate", "wishlisted", "outcome"])
def test_other_names_of_labels(tmp_path: Path, name: str) -> None:
    gaps = shop().clicked.where(some(of=9) > 0)
    read = document(drafted(shop().assign(**{name: gaps}), tmp_path))
    assert name not in read["fields"]
    assert name not in read["tasks"]


def test_counts_whose_name_is_that_of_a_label_are_features(tmp_path: Path) -> None:
    assert "likes" in document(drafted(shop(likes=some(of=9)), tmp_path))["fields"]


# Scenarios


def test_names_of_scenarios_are_safe_and_differ(tmp_path: Path) -> None:
    values = ["España", "a/b", "a b", "", "../..", "..", "7", "NO", "no"]
    frame = shop(country=np.array(values, dtype=object)[some(of=len(values))])
    found = drafted(frame, tmp_path)
    assert document(found)["scenario"] == {
        "column": "country",
        "values": {
            "..": "country",
            "../..": "country_2",
            7: "country7",
            "NO": "NO",
            "España": "Espana",
            "a b": "a-b",
            "a/b": "a-b_2",
            "no": "no_2",
        },
        "others": "drop",
    }
    assert "rows without a value are left out" in found.text
    assert len(prepare(found.schema, tmp_path, tmp_path / "data")) == 8


def test_rare_values_are_no_scenarios(tmp_path: Path) -> None:
    frame = shop()
    frame.loc[:20, "country"] = "XX"
    found = drafted(frame, tmp_path)
    assert document(found)["scenario"]["values"] == {"DE": "DE", "NL": "NL", "NO": "NO"}
    assert document(found)["scenario"]["others"] == "drop"
    assert "rows of XX, which are too few for a scenario" in found.text
    assert len(prepare(found.schema, tmp_path, tmp_path / "data")) == 3


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"tab": some(of=4), "size": some(of=4)}, "tab"),
        ({"market": some(of=30)}, "market"),
        ({"market": some(of=31)}, None),
        ({"shop_rating": some(of=5)}, None),
        ({"device_type": np.array(["tv", "phone"])[some(of=2)]}, "device_type"),
        ({"channel": some(of=3), "scenario": some(of=3)}, "scenario"),
        ({"category": np.array(["x", "y"])[some(of=2)]}, None),
    ],
)
def test_which_column_is_the_scenario(tmp_path: Path, columns: dict[str, Any], chosen: str | None) -> None:
    found = drafted(shop(**columns).drop(columns=["country", "kind"]), tmp_path)
    read = document(found)
    if chosen is None:
        assert read["scenario"] == {"names": ["all"]}
        assert set(columns) <= set(read["fields"])
        assert [store.scenario for store in prepare(found.schema, tmp_path, tmp_path / "data")] == ["all"]
    else:
        assert read["scenario"]["column"] == chosen
        assert chosen not in read["fields"]


# People


def test_what_may_identify_a_person_is_left_out_or_local(tmp_path: Path) -> None:
    people = [f"person{number}" for number in some(of=700)]
    private: dict[str, Any] = {
        "e-mail": [f"{person}@example.org" for person in people],
        "contact": [f"{person}@example.org" for person in people],
        "origin": [f"10.0.{number}.7" for number in some(of=200)],
        "phoneNumber": some(of=9, start=10**8),
        "last_name": ["Jansen", "Smit", "Bos"] * (ROWS // 3),
        "birth_year": some(of=60, start=1950),
    }
    unknown: dict[str, Any] = {
        "seller": people,
        "partner_id": some(of=900, start=5000),
        "big": some(of=900, start=2**40),
    }
    found = drafted(shop(**private, **unknown, device_id=people), tmp_path)
    assert left_out(found).keys() == private.keys()
    fields = document(found)["fields"]
    for name in (*unknown, "device_id", "customer_id"):
        assert fields[name] == {"vocabulary": {"min_count": 2}, "embedding": "local"}
    assert found.text.count("may identify people; make it federated with a hash if it does not") == len(unknown)
    for value in ("person", "@", "10.0.", "Jansen", "Smit"):
        assert value not in re.sub(r"identify (a )?persons?", "", found.text)


def test_a_few_users_are_local_and_no_scenario(tmp_path: Path) -> None:
    few = np.array(["ann", "bob", "eve"])[some(of=3)]
    found = drafted(shop(account=few).drop(columns=["country", "customer_id"]), tmp_path)
    assert document(found)["fields"]["account"] == {"vocabulary": {"min_count": 2}, "embedding": "local"}
    assert document(found)["scenario"]["column"] == "kind"
    assert "bob" not in found.text


@pytest.mark.parametrize("name", ["user_id", "userId", "USER", "uid", "members", "visitor_hash", "encrypted_account"])
def test_names_of_users(name: str) -> None:
    assert subject(name, USER_WORDS) is not None
    assert spoken(name, ITEM_WORDS) is None


@pytest.mark.parametrize("name", ["user_age", "num", "id", "", "用户", "customer_segment"])
def test_names_that_are_no_users(name: str) -> None:
    assert subject(name, USER_WORDS) is None


def test_what_names_say() -> None:
    assert spoken("is_long_view", LABEL_WORDS) == "long_view"
    assert spoken("was_carted", LABEL_WORDS) == "cart"
    assert spoken("likelihood", LABEL_WORDS) is None
    assert subject("country_code", SCENARIO_WORDS) == "country"
    assert personal("item_name") is None
    assert personal("customer_name") == "name"
    assert personal("shipping") is None


# Splits


def test_without_a_day_users_are_split_and_without_users_rows(tmp_path: Path) -> None:
    shares = {"validation": 0.1, "test": 0.1}
    found = drafted(shop().drop(columns="day"), tmp_path)
    assert document(found)["split"] == {"by_user": shares}
    found = drafted(shop().drop(columns=["day", "customer_id"]), tmp_path)
    assert document(found)["split"] == {"random": shares}
    assert "users" not in document(found)
    assert len(prepare(found.schema, tmp_path, tmp_path / "data")) == 3


@pytest.mark.parametrize(
    ("name", "values", "form"),
    [
        ("when", [20240130, 20240131, 20240201], "YYYYMMDD"),
        ("dt", ["2024/01/30", "2024/01/31", "2024/02/01"], "YYYY/MM/DD"),
        ("at", ["2024-01-30 00:00:00", "2024-01-31 00:00:00", "2024-02-01 00:00:00"], "iso"),
        ("at", ["2024-01-30 10:00:00", "2024-01-31", "2024-02-01T00:00:00.5"], "iso"),
        ("created", ["2024-01-30T10:00:00Z", "2024-01-31T23:59:59+00:00", "2024-02-01 00:00:00 UTC"], "iso-zone"),
        ("x", ["30.01.2024", "31.01.2024", "01.02.2024"], "DD.MM.YYYY"),
        ("x", ["30/01/2024", "31/01/2024", "01/02/2024"], "DD/MM/YYYY"),
        ("x", [f"01/{day:02}/2024" for day in range(1, 16)], "MM/DD/YYYY"),
        ("hour", [24013000, 24013123, 24020100], "YYMMDDHH"),
        ("x", [2024013000, 2024013123, 2024020100], "YYYYMMDDHH"),
        ("ts", [1706572800, 1706659200.5, 1706745600], "seconds"),
        ("time_ms", [1706572800000, 1706659200500, 1706745600000], "milliseconds"),
        ("day", [8, 9, 10], "number"),
        ("day", [1, 2, 3], None),
        ("day", [20240130, 20240131], None),
        ("day", [1, 15, 31], None),
        ("date", ["30.1.2024", "31.1.2024", "1.2.2024"], None),
        ("date", ["01/02/2024", "02/03/2024", "03/04/2024"], None),
        ("date", ["2024-01-30", "2024/01/31", "2024-02-01"], None),
        ("number", [20241301, 20240132, 20240001], None),
        ("release_date", ["2024-01-30", "2024-01-31", "2024-02-01"], None),
    ],
)
def test_which_column_is_the_day(tmp_path: Path, name: str, values: list[Any], form: str | None) -> None:
    frame = shop().drop(columns="day").assign(**{name: np.array(values, dtype=object)[some(of=len(values))]})
    found = drafted(frame, tmp_path)
    assert ("by_date" in document(found)["split"]) == (form is not None)
    assert document(found).get("times") == (form and {name: {"form": form}})
    if form is not None:
        assert document(found)["split"]["by_date"]["column"] == name
        assert name not in document(found)["fields"] | document(found).get("numeric", {})
        days = {"YYYYMMDD": "20240201", "YYYY/MM/DD": "2024/02/01", "number": "10"}
        days |= {"DD.MM.YYYY": "01.02.2024", "DD/MM/YYYY": "01/02/2024", "MM/DD/YYYY": "01/15/2024"}
        assert cast(dict[str, Any], prepare(found.schema, tmp_path, tmp_path / "data")[0].extra["split"])["test"] == [
            days.get(form, "2024-02-01")
        ]


def test_the_day_is_the_column_that_is_called_so(tmp_path: Path) -> None:
    days = np.array(["2023-01-01", "2023-01-02", "2023-01-03"])[some(of=3)]
    found = drafted(shop().assign(register_date=days), tmp_path)
    assert document(found)["split"]["by_date"]["column"] == "day"
    assert left_out(found).keys() == {"register_date"}
    found = drafted(shop().drop(columns="day").assign(first_seen=days), tmp_path)
    assert "by_user" in document(found)["split"] and "first_seen" in left_out(found)


def test_times_in_two_forms_are_reported(tmp_path: Path) -> None:
    shown = np.array(["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z", "2024-01-03 00:00:00"])
    frame = shop().drop(columns="day").assign(shown_at=shown[np.arange(ROWS) % 4])
    found = drafted(frame, tmp_path)
    assert "by_user" in document(found)["split"]
    reason = "750 rows have another form, such as 2024-01-03 00:00:00: write all in one form"
    assert reason in found.text.replace("\n# ", " ")


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("timestamp", 1_700_000_000.5 + np.arange(ROWS) % 997, r"a point in time \(seconds\), and new rows lie later"),
        (
            "timestamp",
            np.where(some(of=9) == 0, 0, some(of=10**6, start=1_700_000_000)),
            r"a point in time \(seconds\)",
        ),
        ("x", some(of=10**4, start=1_700_000_000), r"a point in time \(seconds\)"),
        ("x", some(of=10**7, start=1_700_000_000_000), r"a point in time \(milliseconds\)"),
        ("x", some(of=10**9, start=1_700_000_000_000_000), r"a point in time \(microseconds\)"),
        ("hour", some(of=24, start=14102100), r"a point in time \(YYMMDDHH\)"),
        ("x", 20240101000000 + some(of=10**6) // 60 % 24 * 10000, r"a point in time \(YYYYMMDDHHMMSS\)"),
        ("visited", ["2024-01-31T10:00:00Z"] * (ROWS - 1) + ["never"], r"a point in time \(iso-zone\)"),
        (
            "x",
            [f"31/Jan/2024:10:{number % 60:02}:00 +0100" for number in range(ROWS)],
            "a point in time in a form that",
        ),
        ("x", [f"1/31/2024 {number % 12}:00 PM" for number in range(ROWS)], "a point in time in a form that"),
        ("x", [f"2024-{number % 12 + 1:02}" for number in range(ROWS)], "a month, and new rows lie in later months"),
        ("day", some(of=31) + 1, r"days of a month, or a count of days\?"),
    ],
)
def test_a_point_in_time_is_no_feature(tmp_path: Path, name: str, values: Any, reason: str) -> None:
    found = drafted(shop().drop(columns="day").assign(**{name: values}), tmp_path)
    assert re.match(reason, left_out(found)[name])
    assert "times" not in document(found)
    assert name not in {column for columns in found.schema.feature_columns().values() for column in columns}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("item_id", some(of=10**6, start=1_700_000_000)),
        ("partner_id", some(of=10**6, start=1_700_000_000)),
        ("code", ["2024-1", "2023-12b", "1.2.30", "10:30"] * (ROWS // 4)),
        ("x", some(of=2000, start=1950)),
        ("version", ["1.12.2020", "2.0.1"] * (ROWS // 2)),
        ("hour", some(of=24)),
        ("x", some(of=1000, start=10**9)),
    ],
)
def test_what_is_no_point_in_time(tmp_path: Path, name: str, values: Any) -> None:
    found = drafted(shop().drop(columns="hour").assign(**{name: values}), tmp_path)
    assert name in {column for columns in found.schema.feature_columns().values() for column in columns}


# Row numbers


def two_files(folder: Path, **columns: Any) -> Draft:
    source = folder / "logs"
    source.mkdir()
    frame = shop().assign(**columns)
    frame[: ROWS // 2].to_csv(source / "a.csv", index=False)
    frame[ROWS // 2 :].to_csv(source / "b.csv", index=False)
    return draft(source)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Unnamed: 0", np.arange(ROWS) % (ROWS // 2)),
        ("x", np.arange(ROWS) % (ROWS // 2)),
        ("x", np.arange(ROWS) % (ROWS // 2) + 7.0),
        ("x", ROWS - np.arange(ROWS)),
        ("x", np.arange(ROWS) % 500),  # six tables one below the other
        ("x", np.sort(np.random.default_rng(0).choice(10**6, ROWS, replace=False))),  # rows were left out
        ("Unnamed: 0", np.random.default_rng(0).permutation(ROWS) % 20),
        ("index", np.random.default_rng(0).permutation(ROWS) % 300),
        ("row_id", np.random.default_rng(0).permutation(ROWS) % 300),
        ("__index_level_0__", np.random.default_rng(0).permutation(ROWS) % 300),
    ],
)
def test_a_row_number_is_no_feature(tmp_path: Path, name: str, values: Any) -> None:
    found = two_files(tmp_path, **{name: values})
    assert f"# - {name}: a row number, which tells a model nothing\n" in found.text
    assert found.left_out == 1


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x", np.arange(ROWS) % 24),  # such as a position on a page
        ("x", np.arange(ROWS) // 2),
        ("item_id", np.arange(ROWS) % (ROWS // 2)),
        ("index", some(of=20)),
        ("x", some(of=500)),
    ],
)
def test_what_is_no_row_number(tmp_path: Path, name: str, values: Any) -> None:
    found = two_files(tmp_path, **{name: values})
    assert name in {column for columns in found.schema.feature_columns().values() for column in columns}


# Other columns


def test_columns_that_are_of_no_use_are_left_out(tmp_path: Path) -> None:
    frame = shop(
        one="same",
        nothing=None,
        request=[f"r{row}" for row in range(ROWS)],
        line=np.arange(ROWS),
        event_time=some(of=10**6, start=1_700_000_000),
        created=[f"2024-01-01 10:{row % 60:02}:00" for row in range(ROWS)],
    )
    found = drafted(frame.assign(**{"wide_{1..3}": some(of=5)}), tmp_path)
    reasons = left_out(found)
    assert list(reasons) == ["wide_{1..3}", "one", "nothing", "request", "line", "event_time", "created"]
    assert reasons["one"] == "the same value in every row"
    assert reasons["nothing"] == "no row has a value"
    assert reasons["request"] == "a different value in every row"
    assert reasons["line"] == "a row number, which tells a model nothing"
    assert found.left_out == 7


@pytest.mark.parametrize(
    ("values", "section", "expected"),
    [
        (some(of=8), "fields", {"identity": {"size": 16}, "embedding": "federated"}),
        (some(of=999) + 1, "fields", {"identity": {"size": 1024}, "embedding": "federated"}),
        (some(of=1000) + 1, "numeric", {}),
        (some(of=7) - 1, "fields", {"missing": [-1], "identity": {"size": 8}, "embedding": "federated"}),
        (some(of=5) - 2, "numeric", {}),
        (np.where(some(of=9) == 0, -99, some(of=5000)), "numeric", {"missing": [-99]}),
        (some(of=1000) / 7, "numeric", {}),
        (np.exp(some(of=1000) / 100), "numeric", {"transform": "log1p"}),
        (-np.exp(some(of=1000) / 100), "numeric", {}),
        (np.array(["x", "1"])[some(of=2)], "fields", {"values": [1, "x"], "embedding": "federated"}),
        (joined("drama", "war", "sci-fi"), "fields", {"several": PIPES, "values": ["drama", "sci-fi", "war"]}),
        (joined(3, 10, 25), "fields", {"several": PIPES, "identity": {"size": 32}, "embedding": "federated"}),
        (joined(*(f"w{n}" for n in range(60))), "fields", {"several": PIPES, "vocabulary": {"min_count": 2}}),
        ([f"v{n:02}" for n in some(of=50)], "fields", {"values": [f"v{n:02}" for n in range(50)]}),
        ([f"v{n:02}" for n in some(of=51)], "fields", {"vocabulary": {"min_count": 2}, "embedding": "local"}),
    ],
)
def test_what_values_become(tmp_path: Path, values: Any, section: str, expected: dict[str, Any]) -> None:
    found = drafted(shop(x=values), tmp_path)
    assert document(found)[section]["x"].items() >= expected.items()
    assert ("transform" in document(found)[section]["x"]) == ("transform" in expected)
    prepare(found.schema, tmp_path, tmp_path / "data")


def test_a_stray_sign_separates_nothing(tmp_path: Path) -> None:
    found = drafted(shop(x=[f"room {n}|floor {n}" for n in some(of=30)], y=[f"a;b;{n}" for n in some(of=30)]), tmp_path)
    assert all("several" not in document(found)["fields"][name] for name in ("x", "y"))


def test_several_ids_of_users_stay_local(tmp_path: Path) -> None:
    found = drafted(shop(friends_user_id=joined(*range(70))), tmp_path)
    assert document(found)["fields"]["friends_user_id"] == {
        "several": PIPES,
        "vocabulary": {"min_count": 2},
        "embedding": "local",
    }


@pytest.mark.parametrize("distinct", [51, 64, 65, 512])
def test_hashes_have_at_least_twice_as_many_buckets_as_values(tmp_path: Path, distinct: int) -> None:
    read = document(drafted(shop(product_id=np.arange(ROWS) % distinct + 5000), tmp_path))
    buckets = read["fields"]["product_id"]["hash"]["buckets"]
    assert 2 * distinct <= buckets < 4 * distinct
    assert buckets & (buckets - 1) == 0


def test_what_may_come_after_the_impression_is_reported(tmp_path: Path) -> None:
    found = drafted(shop(watch_time=some(of=5000)), tmp_path)
    assert "'watch': known before the impression? If not, remove it" in found.text


def test_names_that_no_field_may_have(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "Gerät typ": some(of=5),
        "yes": some(of=5),
        "12": some(of=5),
        "a b": some(of=5),
        "a-b": 2.5 * some(of=9),
    }
    found = drafted(shop(**columns, a_b=some(of=6), 用=some(of=6)), tmp_path)
    assert list(found.schema.fields)[-6:] == ["Ger_t_typ", "yes", "12", "a_b", "a_b_2", "column"]
    read_from = found.schema.feature_columns()
    assert [read_from[name][0] for name in list(found.schema.fields)[-6:]] == [
        "Gerät typ",
        "yes",
        "12",
        "a b",
        "a_b",
        "用",
    ]
    prepare(found.schema, tmp_path, tmp_path / "data")


# Forms of a table


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    found = drafted(shop(kind="a,b;c|d"), tmp_path, sep=delimiter)
    assert found.schema.table.delimiter == delimiter
    assert ("delimiter" in document(found)["table"]) == (delimiter != ",")
    assert found.schema.fields.keys() == {"customer_id", "item", "hour"}


def test_words_for_a_missing_number(tmp_path: Path) -> None:
    frame = shop().astype({"price": object})
    frame.loc[frame.index % 5 == 0, "price"] = "NULL"
    found = drafted(frame, tmp_path)
    assert document(found)["table"] == {"files": ["shop.csv"]}
    assert document(found)["numeric"] == {"price": {"transform": "log1p", "missing": ["NULL"]}}
    assert "20 % missing" in found.text
    prepare(found.schema, tmp_path, tmp_path / "data")
    frame["kind"] = np.array(["NA", "EU"])[some(of=2)]  # text among texts is text
    found = drafted(frame, tmp_path)
    assert document(found)["fields"]["kind"] == {"values": ["EU", "NA"], "embedding": "federated"}
    assert "NA is a value: if it means missing, add missing: [NA]" in found.text


def test_a_word_is_missing_in_its_own_column_only(tmp_path: Path) -> None:
    """The country NA stays where a price is NA; see the rows that are prepared."""
    country = np.array(["NA", "NL", "None"])[some(of=3)]
    frame = shop(country=country).astype({"price": object, "customer_id": object, "hour": object})
    for column, word in (("price", "NA"), ("customer_id", "NULL"), ("hour", "-")):
        frame.loc[some(of=10, seed=len(column)) == 0, column] = word
    found = drafted(frame, tmp_path)
    assert document(found)["scenario"]["values"] == {"NA": "NA", "NL": "NL", "None": "None"}
    assert document(found)["numeric"]["price"]["missing"] == ["NA"]
    assert document(found)["fields"]["customer_id"]["missing"] == ["NULL"]
    assert document(found)["fields"]["hour"]["missing"] == ["-"]
    assert document(found)["table"]["columns"] == {"customer_id": {"missing": ["NULL"]}}
    stores = prepare(found.schema, tmp_path, tmp_path / "data")
    assert {store.scenario: sum(len(split.labels) for split in store.splits.values()) for store in stores} == {
        name: int((country == name).sum()) for name in ("NA", "NL", "None")
    }
    assert [store.extra["rows_without_user"] for store in stores] == [
        int((frame[country == store.scenario].customer_id == "NULL").sum()) for store in stores
    ]


@pytest.mark.parametrize(
    ("values", "form", "example"),
    [
        (["1.234,50", "3,00", "12,5"], {"decimal": ",", "thousands": "."}, [1234.5, 3.0, 12.5]),
        (["$1,234.50", "-$3", "$0.99"], {"thousands": ",", "signs": ["$"]}, [1234.5, -3.0, 0.99]),
        (["12,5 %", "3 %", "0,25 %"], {"decimal": ",", "signs": ["%"]}, [12.5, 3.0, 0.25]),
        (["1 234,5 €", "12,25 €", "n.a."], {"decimal": ",", "thousands": " ", "signs": ["€"]}, [1234.5, 12.25, None]),
        (["1'234.5", "7.25", "1"], {"thousands": "'"}, [1234.5, 7.25, 1.0]),
        (["12,5 %", "", "0,25 %"], {"decimal": ",", "signs": ["%"]}, [12.5, None, 0.25]),
    ],
)
def test_numbers_as_people_write_them(
    tmp_path: Path, values: list[str], form: dict[str, Any], example: list[float | None]
) -> None:
    chosen = some(of=3)
    frame = shop(amount=np.array(values)[chosen]).drop(columns="price")
    found = drafted(frame, tmp_path, sep=";")
    assert document(found)["table"]["columns"] == {"amount": form}
    amount = document(found)["numeric"]["amount"]
    assert amount.get("missing", []) == [value for value in values if value == "n.a."]
    assert "written like 1" in found.text
    plain = frame.assign(amount=np.array(example, dtype=float)[chosen])
    (tmp_path / "plain").mkdir()
    plain.to_csv(tmp_path / "plain" / "shop.csv", index=False, sep=";")
    own = found.schema.model_copy(update={"table": found.schema.table.model_copy(update={"columns": {}})})
    stores = prepare(found.schema, tmp_path, tmp_path / "data")
    others = prepare(own, tmp_path / "plain", tmp_path / "plain-data")
    assert [store.checksums for store in stores] == [store.checksums for store in others]


@pytest.mark.parametrize(
    "values", [["12,7", "3", "4", "5"], ["1,2,3", "4"], ["10.0.0.123", "10.0.0.124"], ["a1,5", "2,5"]]
)
def test_lists_and_addresses_are_no_numbers(tmp_path: Path, values: list[str]) -> None:
    frame = shop(odd=np.array(values)[some(of=len(values))])
    assert "columns" not in document(drafted(frame, tmp_path))["table"]


def test_ids_that_were_rounded_stay_ids_and_are_reported(tmp_path: Path) -> None:
    ids = (2**53 + some(of=60) * 2).astype(np.int64)
    for column in (ids.astype(float), pd.Series(ids.astype(float)).map(repr)):
        frame = shop(item=column)
        frame.to_parquet(tmp_path / "shop.parquet")
        found = draft(tmp_path / "shop.parquet")
        assert document(found)["fields"]["item"] == {"hash": {"buckets": 128}, "embedding": "federated"}
        assert "3,000 ids were rounded when the file was written" in found.text
    few = shop(code=(2**60 + some(of=5)))
    few.to_parquet(tmp_path / "shop.parquet")
    assert document(draft(tmp_path / "shop.parquet"))["fields"]["code"]["embedding"] == "local"


def test_parquet_gives_the_same_but_for_the_file(tmp_path: Path) -> None:
    frame = shop()
    expected = document(drafted(frame, tmp_path))
    frame["day"] = pd.to_datetime(frame.day)
    frame["kind"] = frame.kind.astype("category")
    frame["list"] = [[1]] * ROWS
    frame.to_parquet(tmp_path / "shop.parquet")
    found = draft(tmp_path / "shop.parquet")
    assert document(found) == expected | {"table": {"files": ["shop.parquet"]}}
    assert left_out(found).keys() == {"list"}
    assert len(prepare(found.schema, tmp_path, tmp_path / "data")) == 3


def test_a_folder_is_one_table_and_every_file_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "my logs"
    logs.mkdir()
    for day, part in shop().groupby("day"):
        part.to_csv(logs / f"{day}.csv", index=False)
    (logs / "notes.md").write_text("x")
    monkeypatch.setattr(profiling, "ROWS", 800)
    found = draft(logs)
    assert found.rows == 800
    assert "the first 800 rows of 8 files" in found.text
    assert document(found)["name"] == "my-logs"
    assert document(found)["table"] == {"files": ["*.csv"]}
    assert "# 8 days, 2024-01-01 to 2024-01-08;" in found.text
    assert len(prepare(found.schema, logs, tmp_path / "data")) == 3
    shop().to_parquet(logs / "more.parquet")
    with pytest.raises(UserError, match=r"holds several kinds of tables \(\.csv, \.parquet .*name one file"):
        draft(logs)


def markets(folder: Path, **of_nl: Any) -> pd.DataFrame:
    """Write a file for each country: one writes prices in another way, another lacks two columns."""
    folder.mkdir()
    frame = shop(note=np.array(["", "a", "b"])[some(of=3)])
    euros = frame.price.map(lambda price: f"{price:,.2f} €".translate(str.maketrans(",.", ".,")))
    prices = {"NL": euros, "DE": frame.price.map("{:.2f}".format), "NO": frame.price.map("kr {:,.2f}".format)}
    for country, price in prices.items():
        own = frame.assign(price=price.where(frame.hour > 0, ""))[frame.country == country]
        own = own.drop(columns=["bought", "note"]) if country == "NO" else own
        own.assign(**of_nl if country == "NL" else {}).to_csv(folder / f"shop-{country.lower()}.csv", index=False)
    return frame


def test_scenarios_with_files_of_their_own_may_differ_in_columns_and_numbers(tmp_path: Path) -> None:
    frame = markets(tmp_path / "shop")
    found = draft(tmp_path / "shop")
    assert document(found)["table"] == {
        "files": ["shop-{scenario}.csv"],
        "columns_of": {
            "NL": {"price": {"decimal": ",", "thousands": ".", "signs": ["€"]}},
            "NO": {"price": {"thousands": ",", "signs": ["kr"]}},
        },
    }
    assert document(found)["scenario"] == {"names": ["DE", "NL", "NO"]}
    assert document(found)["tasks"] == {"clicked": "clicked", "bought": {"column": "bought", "scenarios": ["DE", "NL"]}}
    assert document(found)["fields"]["note"]["scenarios"] == ["DE", "NL"] and "country" not in document(found)["fields"]
    written = "written like 1234.5 in shop-de.csv, 1.234,5 € in shop-nl.csv, 1,234.5 kr in shop-no.csv"
    assert written in found.text.replace("\n  # ", " ")
    for store in prepare(found.schema, tmp_path / "shop", tmp_path / "data"):
        own = frame[frame.country == store.scenario]
        assert store.tasks == ("clicked", "bought")[: 1 if store.scenario == "NO" else 2]
        test = own[own.day == "2024-01-08"]
        assert store.positives("test") == tuple(test[list(store.tasks)].sum())
        prices = np.log1p(own.price.where(own.hour > 0)[own.day < "2024-01-07"]).dropna()
        scored = ScenarioEncoder.load(store.folder)
        assert scored.schema == found.schema
        np.testing.assert_allclose(scored.standardiser.mean, prices.mean(), rtol=1e-12)
        np.testing.assert_allclose(scored.standardiser.deviation, prices.std(ddof=0), rtol=1e-12)


def test_a_column_that_some_files_lack_is_left_out_where_files_are_no_scenarios(tmp_path: Path) -> None:
    markets(tmp_path / "shop", country=np.array(["NL", "DE"])[some(of=2)][: (shop().country == "NL").sum()])
    found = draft(tmp_path / "shop")
    assert document(found)["table"] == {"files": ["*.csv"]} and list(document(found)["tasks"]) == ["clicked"]
    assert left_out(found)["bought"].startswith("not in shop-no.csv: every file of a table has the same columns")
    assert "note" in left_out(found) and document(found)["fields"]["price"]["embedding"] == "local"
    assert "written like 1234.5 in shop-de.csv, 1.234,5 €" in found.text.replace("\n  # ", " ")
    (tmp_path / "shop" / "shop-no.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"shop-no\.csv: got the columns a, b, none of which is in .*shop-de\.csv"):
        draft(tmp_path / "shop")


def test_a_file_without_rows_and_a_scenario_without_a_label(tmp_path: Path) -> None:
    markets(tmp_path / "shop")
    header = (tmp_path / "shop" / "shop-no.csv").read_text().splitlines()[0]
    (tmp_path / "shop" / "shop-no.csv").write_text(header + "\n")
    assert document(draft(tmp_path / "shop"))["table"]["files"] == ["*.csv"]
    shop().query("country == 'NO'").drop(columns=["clicked", "bought"]).to_csv(tmp_path / "shop" / "shop-no.csv")
    with pytest.raises(UserError, match=r"shop-no\.csv: got no column that can be a label, .* each file is a scenario"):
        draft(tmp_path / "shop")


def test_a_packed_file_and_one_with_signs_of_a_pattern(tmp_path: Path) -> None:
    text = shop().to_csv(index=False)
    (tmp_path / "a1.csv").write_text("another table")
    with gzip.open(tmp_path / "a[1]{scenario}*.csv.gz", "wt") as stream:
        stream.write(text)
    found = draft(tmp_path / "a[1]{scenario}*.csv.gz")
    assert found.schema.name == "a-1-scenario"
    assert len(prepare(found.schema, tmp_path, tmp_path / "data")) == 3


def test_few_rows_of_many_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "ROWS", 1000)
    frame = shop().sort_values("day")  # the first thousand rows have three days at most
    found = drafted(frame, tmp_path)
    assert found.rows == 1000
    assert found.schema.split.by_date is not None
    assert "A further value is an error" in found.text
    prepare(found.schema, tmp_path, tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("shop.csv", "1,2,3\n4,5,6\n", r"line 1: got '1,2,3', expected the names of the columns: add a header line"),
        ("shop.csv", "a,b\n", r"got a header and no row"),
        ("shop.csv", "", r"Empty CSV file"),
        ("shop.csv", "a,a\n1,2\n", r"the column 'a' occurs twice"),
        ("shop.csv", "a,b\n1\n", r"line 2: got 1 column, expected 2"),
        ("shop.csv", "click,price\n1,2.5\n0,3.5\n", r"got no column that can be a categorical field"),
        ("shop.xlsx", "x", r"got a file '\.xlsx', expected \.csv"),
        ("shop.parquet", "x", r"cannot read .*shop\.parquet"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        draft(tmp_path / name)


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no table .*none\.csv: name a CSV or Parquet file"):
        draft(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"holds no table \(no file of \.csv"):
        draft(tmp_path)


# The text


@given(st.text())
@example("NO")
@example("2024-13-45")
def test_a_quoted_text_is_read_back(text: str) -> None:
    assert load_yaml(f"{{{quoted(text)}: [{quoted(text)}]}} # {quoted(text)}") == {text: [text]}


@pytest.mark.parametrize("text", ["NO", "010", "12:30", "2024-01-05", "2024-13-45", "1_000"])
def test_what_other_readers_of_yaml_take_for_no_text_is_quoted(text: str) -> None:
    assert quoted(text) == f'"{text}"'


@given(
    st.text(min_size=1, max_size=20),
    st.dictionaries(st.text(max_size=30), st.lists(st.text(max_size=30) | st.integers(), max_size=20), max_size=8),
    st.text(max_size=300),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_an_entry_is_read_back_whatever_the_reason(key: str, value: dict[str, list[str | int]], reason: str) -> None:
    for indent in (0, 2):
        lines = entry(indent, key, value, reason)
        assert load_yaml("\n".join(lines)) == {key: value}
        assert all(line.startswith(" " * indent) for line in lines)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n"), min_size=1).filter(str.strip),
    values=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n"), max_size=20).filter(str.strip),
        min_size=2,
        max_size=40,
        unique_by=str.strip,
    ),
)
def test_any_name_and_any_values_make_a_valid_schema(tmp_path: Path, name: str, values: list[str]) -> None:
    rows = 40 * len(values)
    frame = pd.DataFrame({"click": np.arange(rows) % 2, "hour": np.arange(rows) // 3 % 24, "column": "x"})
    frame = frame.rename(columns={"column": f"z{name}"}).assign(**{f"z{name}": np.repeat(values, 40)})
    frame.to_parquet(tmp_path / "any.parquet")
    found = draft(tmp_path / "any.parquet")
    (tmp_path / "any.yaml").write_text(found.text, encoding="utf-8")
    assert load_schema(tmp_path / "any.yaml") == found.schema
    assert "click" in found.schema.tasks
