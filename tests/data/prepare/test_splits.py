"""Split rules: by day, by key, by row and by file."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pfmsmtrec_flwr.data.encode.times import day_text
from pfmsmtrec_flwr.data.prepare.clocks import Clock
from pfmsmtrec_flwr.data.prepare.splits import (
    TEST,
    TRAIN,
    UNDRAWN,
    VALIDATION,
    ByDate,
    ByKey,
    ByRow,
    ByUserTime,
    HeldOutShares,
    SplitPlan,
    resolve_split,
)
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.data.schema.time_section import TimeForm, TimeSection
from pfmsmtrec_flwr.data.store.manifest import NO_USER
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse


def chunk(values: list[Any], header: tuple[str, ...] = (), name: str = "key") -> Chunk:
    columns = {name: pa.chunked_array([pa.array(values, type=pa.string())])}
    table = TableSection(files=("x",), header=header)
    return Chunk(SourceFile("log.csv", Path("log.csv")), table, lambda row: 1 + row, columns, len(values))


def clock(form: TimeForm, column: str = "key") -> Clock:
    return Clock(column, TimeSection(form=form))


def plan(
    split: dict[str, Any], days: list[str] | None = None, form: TimeForm | None = None, zone: str | None = None
) -> SplitPlan:
    document: dict[str, Any] = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["{split}.csv" if "by_file" in split else "log.csv"]},
        "scenario": {"names": ["NL"]},
        "tasks": {"ctr": "click"},
        "users": "user",
        "split": split,
        "times": {rule["column"]: {"form": form, "zone": zone} for rule in split.values() if form},
        "fields": {"item": {"values": [1], "embedding": "local"}},
    }
    asked: list[str] = []

    def read(column: str) -> Generator[Chunk, None, None]:
        asked.append(column)
        yield chunk([None], name=column)
        yield chunk(days or [], name=column)

    found = resolve_split(parse(DatasetSchema, document, "shop.yaml"), read)
    assert set(asked) == ({"day"} if days else set())  # they cost a pass over the files
    return found


@pytest.mark.parametrize(
    ("form", "days", "validation", "test"),
    [
        ("number", ["10", "8", "9", "11"], ["9", "10"], ["11"]),
        (None, ["2024-02-29", "2024-03-01", "2024-02-28", "2023-12-31"], ["2024-02-28", "2024-02-29"], ["2024-03-01"]),
        (None, ["20240229", "20240301", "20240228", "20231231"], ["20240228", "20240229"], ["20240301"]),
        (None, ["29.02.2024", "01.03.2024", "28.02.2024", "31.12.2023"], ["28.02.2024", "29.02.2024"], ["01.03.2024"]),
        (None, ["24022923", "24030100", "24022800", "23123123"], ["2024-02-28", "2024-02-29"], ["2024-03-01"]),
        (
            None,
            [
                "2024-02-29 23:59:59.5",
                "2024-02-29",
                "2024-02-29T10:00",
                "2024-03-01 00:00:00",
                "2024-02-28",
                "2024-02-27",
            ],
            ["2024-02-28", "2024-02-29"],
            ["2024-03-01"],
        ),
    ],
)
def test_last_days_in_the_order_of_time(
    form: TimeForm | None, days: list[str], validation: list[str], test: list[str]
) -> None:
    found = plan({"by_date": {"column": "day", "last_days": {"validation": 2, "test": 1}}}, days, form)
    assert found.description == {"by_date": "day", "validation": validation, "test": test}
    rule = found.parts[None]
    assert isinstance(rule, ByDate)
    assert [day_text(day, rule.clock.section) for day in rule.validation] == validation
    assert [day_text(day, rule.clock.section) for day in rule.test] == test
    assert set(rule.codes(chunk(days, name="day")).tolist()) == {TRAIN, VALIDATION, TEST}


def test_too_few_days() -> None:
    with pytest.raises(
        UserError,
        match=r"^column 'day' has 2 days \(8, 9\), but 2 are held out and training needs one more$",
    ):
        plan({"by_date": {"column": "day", "last_days": {}}}, ["8", "9"], "number")


def test_given_days() -> None:
    found = plan({"by_date": {"column": "day", "validation": ["08", 9.0], "test": [10]}}, form="number")
    assert found.parts == {None: ByDate(clock("number", "day"), (8, 9), (10,))}
    assert found.description == {"by_date": "day", "validation": ["8", "9"], "test": ["10"]}


@pytest.mark.parametrize(
    ("column", "days"),
    [
        (["20220507", "20220510"], ["20220508", "2022-05-09"]),
        (["20220507", "20220510"], [20220508, 20220509.0]),
        (["2022-05-07", "2022-05-10 11:00:00"], ["2022-05-08", "2022-05-09 00:00:00"]),
        (["07/05/2022", "31/05/2022"], ["08/05/2022", "2022-05-09"]),
        (["1651881600"], ["2022-05-08", "2022-05-09"]),
        (["1651881600"], [1651967999 + 43200, 1652054400]),
        (["1651881600123.5"], ["2022-05-08", "2022-05-09"]),
    ],
)
def test_named_days_have_the_form_of_the_column_or_of_iso_8601(column: list[str], days: list[Any]) -> None:
    found = plan({"by_date": {"column": "day", "validation": days[:1], "test": days[1:]}}, column).parts[None]
    assert isinstance(found, ByDate)
    assert (found.validation, found.test) == ((19120,), (19121,))


@pytest.mark.parametrize(
    ("column", "day"), [("2022-05-07", "20220508"), ("1651881600", 20220508), ("20220507", 8), ("20220507", "8.5.2022")]
)
def test_a_named_day_of_another_form_is_refused(column: str, day: Any) -> None:
    with pytest.raises(UserError, match=rf"^split\.by_date: got the day '{day}', expected one such as 2024-01-31$"):
        plan({"by_date": {"column": "day", "validation": [day], "test": ["2022-05-09"]}}, [column])


def test_a_day_that_is_written_in_two_ways_is_not_held_out_twice() -> None:
    with pytest.raises(UserError, match=r"^split\.by_date: 20220508 is both in validation and in test$"):
        plan({"by_date": {"column": "day", "validation": ["20220508"], "test": ["2022-05-08"]}}, form="YYYYMMDD")


def test_rows_by_day() -> None:
    rule = ByDate(clock("number"), (9,), (10, 12))
    assert rule.codes(chunk(["8", "09", "10.0", "7", "12"])).tolist() == [TRAIN, VALIDATION, TEST, TRAIN, TEST]
    assert rule.codes(chunk([])).tolist() == []


@pytest.mark.parametrize(
    ("days", "header", "message"),
    [
        (["8", "11"], (), "log.csv, line 2, column 'key': got '11', which is after the first held-out day: name it in "
         "split.by_date, validation or test"),
        (["8", None], (), "log.csv, line 2, column 'key': got an empty value, expected a day, for the split"),
        (["key", "8"], ("key",), "log.csv, line 1, column 'key': got 'key', expected a time as the others, in the form "
         "number, such as 8: does the file begin with a header line? It must not"),
    ],
)  # fmt: skip
def test_days_that_do_not_fit(days: list[str | None], header: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as error:
        ByDate(clock("number"), (9,), (10,)).codes(chunk(days, header))
    assert str(error.value) == message


def test_shares_of_draws() -> None:
    codes = HeldOutShares(0.2, 0.3).codes(np.array([0.0, 0.19, 0.2, 0.49, 0.5, 0.99]))
    assert codes.tolist() == [VALIDATION, VALIDATION, TEST, TEST, TRAIN, TRAIN]
    assert codes.dtype == np.int8


def test_equal_keys_stay_together_whatever_else_is_there() -> None:
    rule = ByKey("key", HeldOutShares(0.3, 0.3), 0)
    keys = [str(number % 50) for number in range(400)]
    codes = rule.codes(chunk(keys))
    assert pd.Series(codes).groupby(keys).nunique().max() == 1
    assert set(codes) == {TRAIN, VALIDATION, TEST}
    np.testing.assert_array_equal(rule.codes(chunk(keys[100:130])), codes[100:130])
    assert rule.codes(chunk(["5.0", " 05"])).tolist() == [codes[5]] * 2
    assert (ByKey("key", HeldOutShares(0.3, 0.3), 1).codes(chunk(keys)) != codes).any()


def test_rows_without_a_key_are_drawn_one_by_one() -> None:
    rule = ByKey("key", HeldOutShares(0.3, 0.3), 0)
    codes = rule.codes(chunk([None, "a", "", "  "]))
    assert codes.tolist() == [UNDRAWN, codes[1], UNDRAWN, UNDRAWN]
    numbers = np.arange(1000)
    drawn = rule.drawn(np.where(numbers % 2, codes[1], UNDRAWN).astype(np.int8), numbers)
    assert set(drawn[1::2]) == {codes[1]}
    np.testing.assert_array_equal(drawn[::2], ByRow(rule.shares, 0).codes(numbers[::2]))
    assert set(drawn[::2]) == {TRAIN, VALIDATION, TEST}


def test_the_last_rows_of_each_user_are_held_out() -> None:
    draw = np.random.default_rng(0)
    users = np.repeat([7, 3, 9, 5], [20, 10, 1, 3])
    times = np.concatenate([draw.permutation(20), draw.permutation(10), [5], [2, 2, 2]]).astype(float)
    order = draw.permutation(len(users))
    codes = np.empty(len(users), dtype=np.int8)
    codes[order] = ByUserTime(clock("seconds"), HeldOutShares(0.1, 0.2), 0).codes_of_all(users[order], times[order])
    assert [codes[:20][times[:20] == each].item() for each in range(20)] == [TRAIN] * 14 + [VALIDATION] * 2 + [TEST] * 4
    assert [codes[20:30][times[20:30] == each].item() for each in range(10)] == [TRAIN] * 7 + [VALIDATION] + [TEST] * 2
    assert codes[30] == TRAIN
    tied = ByUserTime(clock("seconds"), HeldOutShares(0.1, 0.2), 0).codes_of_all(np.full(10, 4), np.zeros(10))
    assert tied.tolist() == [TRAIN] * 7 + [VALIDATION] + [TEST] * 2


def test_rows_without_a_user_are_drawn_one_by_one() -> None:
    rule = ByUserTime(clock("seconds"), HeldOutShares(0.1, 0.2), 0)
    users = np.array([NO_USER, 1] * 500)
    codes = rule.codes_of_all(users, np.arange(1000.0))
    np.testing.assert_array_equal(codes[::2], ByRow(rule.shares, 0).codes(np.arange(0, 1000, 2)))
    assert codes[1::2].tolist() == [TRAIN] * 350 + [VALIDATION] * 50 + [TEST] * 100


def test_rows_by_their_number() -> None:
    rule = ByRow(HeldOutShares(0.1, 0.2), 0)
    numbers = np.arange(20_000)
    codes = rule.codes(numbers)
    np.testing.assert_allclose(np.bincount(codes) / 20_000, [0.7, 0.1, 0.2], atol=0.01)
    np.testing.assert_array_equal(rule.codes(numbers[777:999]), codes[777:999])
    assert (ByRow(HeldOutShares(0.1, 0.2), 1).codes(numbers) != codes).any()


def test_draws_are_pinned() -> None:
    """They decide which rows sites hold out, and must not change with a version of a library."""
    assert ByRow(HeldOutShares(0.4, 0.3), 7).codes(np.arange(12)).tolist() == [2, 0, 2, 1, 1, 2, 2, 0, 0, 2, 1, 2]
    keys = chunk([*"abcdefghijkl"])
    assert ByKey("key", HeldOutShares(0.4, 0.3), 7).codes(keys).tolist() == [
        1,
        1,
        1,
        1,
        0,
        0,
        1,
        2,
        0,
        1,
        0,
        1,
    ]


def test_random_and_by_user() -> None:
    shares = {"validation": 0.1, "test": 0.2, "seed": 3}
    found = plan({"random": {"key": "page", **shares}})
    assert found == SplitPlan({"key": "page", **shares}, {None: ByKey("page", HeldOutShares(0.1, 0.2), 3)})
    assert plan({"random": shares}) == SplitPlan({"key": None, **shares}, {None: ByRow(HeldOutShares(0.1, 0.2), 3)})
    assert plan({"by_user": shares}) == SplitPlan(
        {"key": "user", **shares}, {None: ByKey("user", HeldOutShares(0.1, 0.2), 3)}
    )


def test_by_user_time() -> None:
    found = plan({"by_user_time": {"column": "at", "validation": 0.1, "test": 0.2}}, form="number")
    assert found.description == {"by_user_time": "at", "validation": 0.1, "test": 0.2}
    assert found.parts == {None: ByUserTime(clock("number", "at"), HeldOutShares(0.1, 0.2), 0)}
    found = plan({"by_user_time": {"column": "day", "validation": 0.1, "test": 0.2}}, ["2022-05-08 10:00:00"])
    assert found.parts == {None: ByUserTime(clock("iso", "day"), HeldOutShares(0.1, 0.2), 0)}


def test_files_of_their_own() -> None:
    found = plan({"by_file": {"train": "tr", "test": "te", "validation": "va"}})
    assert found.description == {"by_file": ["tr", "te"], "validation": "va"}
    numbers = np.arange(100)
    of_file = {word: set(rule.codes(numbers).tolist()) for word, rule in found.parts.items()}  # type: ignore[arg-type, union-attr]
    assert of_file == {"tr": {TRAIN}, "va": {VALIDATION}, "te": {TEST}}


def test_validation_cut_from_the_training_files() -> None:
    found = plan({"by_file": {"cut": {"share": 0.2, "key": "page", "seed": 5}}})
    assert found.description == {"by_file": ["train", "test"], "validation": {"share": 0.2, "key": "page", "seed": 5}}
    assert found.parts == {
        "test": ByRow(HeldOutShares(0.0, 1.0), 0),
        "train": ByKey("page", HeldOutShares(0.2, 0.0), 5),
    }
    assert plan({"by_file": {"cut": {"share": 0.2}}}).parts["train"] == ByRow(HeldOutShares(0.2, 0.0), 0)
