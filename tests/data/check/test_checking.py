"""Leaks that a check finds in prepared rows, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import split_of, store_of

from pfmsmtrec_flwr.data.check import checking, prepared_scenario
from pfmsmtrec_flwr.data.check.checking import check_stores
from pfmsmtrec_flwr.data.check.findings import Finding, findings_table, summary_of
from pfmsmtrec_flwr.data.check.prepared_scenario import check_columns
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.validation import parse

ROWS = 1200
DRAW = np.random.default_rng(0)
CLICK = (DRAW.random(ROWS) < 0.2).astype(np.int64)
LIKE = (DRAW.random(ROWS) < 0.3).astype(np.int64)
HELD_OUT = np.arange(ROWS) % 4 == 3
PLAIN = DRAW.integers(1, 10, ROWS)
NUMBER = DRAW.normal(size=ROWS)


def store(
    field: np.ndarray | None = None,
    number: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    most: int = 1,
) -> ScenarioStore:
    """A store of one field, one numeric column and two tasks; every fourth row is a test row."""
    values = (PLAIN if field is None else field).reshape(ROWS, most)
    numbers = (NUMBER if number is None else number).reshape(ROWS, 1)
    both = np.stack([CLICK, LIKE], axis=1) if labels is None else labels

    def of(rows: np.ndarray) -> Split:
        found = split_of(values[rows].tolist(), both[rows].tolist(), numeric=numbers[rows].tolist())
        unlabelled = bool((found.labels == MISSING_LABEL).any())
        return Split(found.categorical, found.numeric, found.labels, None, None, unlabelled)

    splits = {"train": of(~HELD_OUT), "validation": of(HELD_OUT), "test": of(HELD_OUT)}
    size = int(values.max()) + 1
    return store_of("NL", [Field("kind", size, True, most)], splits)


def found(checked: ScenarioStore) -> list[tuple[str, str, bool]]:
    return [(finding.what, finding.figure, finding.leak) for finding in check_stores([checked])]


def test_nothing_is_found_in_plain_rows() -> None:
    assert found(store()) == []
    assert found(store(field=np.arange(ROWS))) == []  # one value per row


@pytest.mark.parametrize(
    "number",
    [CLICK * 2 + NUMBER.clip(-0.9, 0.9), -CLICK * 2 - NUMBER.clip(-0.9, 0.9), np.where(CLICK, NUMBER, 0)],
    ids=["high", "low", "there-or-not"],
)
def test_a_number_that_orders_the_rows(number: np.ndarray) -> None:
    ((what, figure, leak),) = found(store(number=number))
    assert (what, leak) == ("number_0", True)
    assert figure.startswith(("alone AUC 1.000 for click", "alone AUC 0.99"))


def test_a_field_whose_values_tell_the_label() -> None:
    watched = np.where(CLICK, DRAW.integers(0, 90, ROWS), 0) + 1
    ((what, figure, leak),) = found(store(field=watched))
    assert (what, leak) == ("kind", True)
    assert figure.startswith("alone AUC 0.9")


def test_a_weaker_field_is_none() -> None:
    flipped = np.where(DRAW.random(ROWS) < 0.1, 1 - CLICK, CLICK) + 1
    assert found(store(field=flipped)) == []


@pytest.mark.parametrize(
    "leak", [{"field": CLICK + 1}, {"field": 2 - CLICK}, {"field": CLICK}, {"number": CLICK - 0.2}]
)
def test_a_column_equal_to_a_label(leak: dict[str, Any]) -> None:
    what = "kind" if "field" in leak else "number_0"
    assert found(store(**leak)) == [(what, "equals click", True)]


def test_one_of_several_values_tells_the_label() -> None:
    tags = DRAW.integers(3, 9, (ROWS, 3))
    tags[:, 1] = np.where(CLICK, 1, tags[:, 1])
    tags[:, 2] = 0
    ((what, figure, leak),) = found(store(field=tags, most=3))
    assert (what, leak) == ("kind", True)
    assert figure.startswith("alone AUC 1.000 for click")
    tags[:, 1] = np.where(CLICK, tags[:, 0], 2)  # told by the value that is not there
    assert found(store(field=tags, most=3))[0][1].startswith("alone AUC ")


def test_several_values_that_tell_nothing() -> None:
    tags = np.where(DRAW.random((ROWS, 3)) < 0.5, DRAW.integers(1, 6, (ROWS, 3)), 0)
    assert found(store(field=tags, most=3)) == []
    alone = np.stack([np.full(ROWS, 4), np.zeros(ROWS, np.int64)], axis=1)
    assert found(store(field=alone, most=2)) == [("kind", "constant", False)]


@pytest.mark.parametrize(("value", "figure"), [(3, "constant"), (0, "missing or unknown in every row")])
def test_a_constant_field_of_a_scenario(value: int, figure: str) -> None:
    constant = store(field=np.full(ROWS, value))
    assert found(constant) == [("kind", figure, False)]
    assert check_columns(constant, lacking=["kind"]) == []


def test_a_constant_number_of_a_scenario() -> None:
    assert found(store(number=np.zeros(ROWS))) == [("number_0", "constant", False)]


def test_a_share_that_jumps_between_splits() -> None:
    field = np.where(HELD_OUT, np.where(DRAW.random(ROWS) < 0.8, 2, PLAIN), PLAIN)
    ((finding,)) = check_columns(store(field=field), texts={"kind": "value {}".format})
    assert finding.figure.startswith("value 2: ")
    assert finding.figure.endswith(f"% of train, {np.mean(field[HELD_OUT] == 2):.0%} of validation")
    assert finding.rows == HELD_OUT.sum()
    assert not finding.leak
    gone = np.where(HELD_OUT, 0, PLAIN)
    assert found(store(field=gone)) == [("kind", "missing or unknown: 0% of train, 100% of validation", False)]
    ((_, figure, _),) = found(store(number=NUMBER + 3 * HELD_OUT))
    assert figure.startswith("lower numbers: ")


def test_few_held_out_rows_jump_by_chance() -> None:
    whole = store()
    rows = whole.splits["train"]
    small = rows.take(np.flatnonzero(rows.categorical[:, 0] < 5)[:8])
    assert check_columns(store_of("NL", whole.fields, {"train": rows, "validation": small, "test": small})) == []


def test_few_positive_rows_are_ordered_by_chance() -> None:
    labels = np.zeros((ROWS, 2), dtype=np.int64)
    labels[:6, 0] = 1
    labels[:, 1] = LIKE
    assert found(store(number=np.arange(ROWS) / ROWS - np.arange(ROWS).mean() / ROWS, labels=labels)) == []


@pytest.mark.parametrize(("other", "word"), [(CLICK, "equal"), (1 - CLICK, "opposite")])
def test_tasks_with_the_same_labels(other: np.ndarray, word: str) -> None:
    same = np.stack([CLICK, other], axis=1)
    assert found(store(labels=same)) == [("click, like", f"tasks with {word} labels", True)]
    gaps = same.copy()
    gaps[::3, 1] = MISSING_LABEL
    (finding,) = check_stores([store(labels=gaps)])
    splits = [np.flatnonzero(~HELD_OUT), np.flatnonzero(HELD_OUT), np.flatnonzero(HELD_OUT)]
    assert finding.rows == sum((rows % 3 > 0).sum() for rows in splits)
    gaps[1, 1] = 1 - gaps[1, 1]
    assert found(store(labels=gaps)) == []


def test_rows_without_a_label_do_not_count() -> None:
    labels = np.stack([CLICK, LIKE], axis=1)
    labels[::2, 0] = MISSING_LABEL
    kind = np.where(np.arange(ROWS) % 2, CLICK + 1, 1 + (DRAW.random(ROWS) < 0.5))
    (finding,) = check_stores([store(field=kind, labels=labels)])
    assert finding.figure == "equals click"
    splits = [np.flatnonzero(~HELD_OUT), np.flatnonzero(HELD_OUT), np.flatnonzero(HELD_OUT)]
    assert finding.rows == sum((rows % 2).sum() for rows in splits)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = DRAW.integers(3, 9, (ROWS, 3))
    tags[:, 1] = np.where(CLICK, 1, tags[:, 1])
    stores = [store(number=CLICK + NUMBER / 9), store(field=tags, most=3), store(labels=np.stack([CLICK, CLICK], 1))]
    whole = check_stores(stores)
    monkeypatch.setattr(prepared_scenario, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(checking, "_BLOCK_ROWS", 7)
    assert check_stores(stores) == whole
    assert len(whole) >= 3


def shop(folder: Path, split: dict[str, Any], log: Callable[[int], str], files: str = "log.csv") -> list[Finding]:
    source = folder / "source"
    source.mkdir()
    header = "country,user,item,time,click"
    for number, name in enumerate(files.split()):
        lines = [f"{log(row + 1000 * number)},{int(DRAW.random() < 0.4)}" for row in range(300)]
        (source / name).write_text("\n".join([header, *lines]) + "\n")
    by_time = {"column": "time", "transform": "hour", "identity": {"size": 24}, "embedding": "federated"}
    document = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["{split}.csv" if "by_file" in split else "log.csv"]},
        "scenario": {"column": "country", "values": {"NL": "NL", "DE": "DE"}},
        "tasks": {"click": "click"},
        "users": "user",
        "times": {"time": {"form": "iso"}},
        "split": split,
        "fields": {"item": {"identity": {"size": 9}, "embedding": "federated"}, "hour": by_time},
    }
    schema = parse(DatasetSchema, document, "shop.yaml")
    return check_stores(prepare(schema, source, folder / "data", progress=False))


def line(row: int, day: int) -> str:
    return f"{('NL', 'DE')[row % 2]},{row % 20},{row % 9},2024-01-{day:02} {row % 24:02}:00:00"


def test_files_that_share_days_are_a_leak(tmp_path: Path) -> None:
    split = {"by_file": {"train": "train", "test": "test", "cut": {"share": 0.2}}}
    shared = shop(tmp_path, split, lambda row: line(row, 1 + row % 5 + 3 * (row >= 1000)), "train.csv test.csv")
    assert {(finding.what, finding.leak, finding.scenario) for finding in shared} == {
        ("time", True, "NL"),
        ("time", True, "DE"),
    }
    assert "100% of validation and 40% of test rows have days of training" in shared[0].figure


@pytest.mark.parametrize(
    "split",
    [
        {"random": {"validation": 0.2, "test": 0.2}},
        {"by_user": {"validation": 0.2, "test": 0.2}},
        {"by_user_time": {"column": "time", "validation": 0.2, "test": 0.2}},
    ],
)
def test_other_splits_share_days_by_their_nature(tmp_path: Path, split: dict[str, Any]) -> None:
    findings = shop(tmp_path, split, lambda row: line(row, 1 + row % 7))
    assert {finding.what for finding in findings} == {"time"}
    assert not any(finding.leak for finding in findings)
    assert all("days of training" in finding.figure for finding in findings)


def test_a_split_by_day_shares_none(tmp_path: Path) -> None:
    days = {"by_date": {"column": "time", "last_days": {"validation": 1, "test": 1}}}
    assert [each for each in shop(tmp_path, days, lambda row: line(row, 1 + row % 7)) if each.what == "time"] == []


def test_held_out_days_of_their_own_are_a_remark() -> None:
    stores = [
        store_of(
            name,
            [],
            split_of([[]] * 4),
            extra={"split": {"by_date": "day", "validation": [before], "test": [day]}},
        )
        for name, before, day in (("DE", "01-04", "01-05"), ("NL", "01-04", "01-05"), ("FR", "01-05", "01-06"))
    ]
    findings = check_stores(stores)
    assert [(each.scenario, each.what, each.figure) for each in findings] == [
        ("FR", "day", "validation is 01-05, and 01-04 in DE"),
        ("FR", "day", "test is 01-06, and 01-05 in DE"),
    ]


def test_a_table_joins_alike_scenarios_and_counts_what_it_leaves_out() -> None:
    alike = [Finding(name, "kind", "constant", 10, "leave it out here", leak=False) for name in ("DE", "NL")]
    leak = Finding("NL", "price", "alone AUC 0.990 for click", 5, "remove it", leak=True)
    findings = [*alike, leak]
    assert summary_of(findings) == "1 leak, 2 remarks"
    table = findings_table(findings, "check", most=1)
    assert [list(column.cells) for column in table.columns[:3]] == [["leak"], ["NL"], ["price"]]
    assert str(table.caption).startswith("1 more line")
    whole = findings_table(findings, "check")
    assert list(whole.columns[1].cells) == ["NL", "DE, NL"]
    assert list(whole.columns[4].cells) == ["5", "20"]
