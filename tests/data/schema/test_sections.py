"""Sections of a schema: runs of names, and what each section refuses."""

from __future__ import annotations

from typing import Any

import pytest

from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection, NumericSection, SeveralSection
from pfmsmtrec_flwr.data.schema.scenario_section import ScenarioSection
from pfmsmtrec_flwr.data.schema.split_sections import DateSplit, FileSplit, RandomSplit, SplitSection
from pfmsmtrec_flwr.data.schema.table_sections import JoinSection, TableSection
from pfmsmtrec_flwr.data.schema.task_sections import NegativesSection, TaskSection
from pfmsmtrec_flwr.data.schema.values import expand_columns, expand_run
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import Section, parse


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x_{1..3}", ["x_1", "x_2", "x_3"]),
        ("{9..11}_y", ["9_y", "10_y", "11_y"]),
        ("x{5..5}", ["x5"]),
        ("x", ["x"]),
        ("x_{1..}", ["x_{1..}"]),
        ("{scenario}", ["{scenario}"]),
    ],
)
def test_runs(name: str, expected: list[str]) -> None:
    assert expand_run(name) == expected


def test_a_run_backwards() -> None:
    with pytest.raises(ValueError, match=r"^'x_\{3\.\.1\}' runs backwards$"):
        expand_run("x_{3..1}")


def test_runs_of_columns() -> None:
    document: dict[Any, Any] = {
        "a": {"column": "b"},
        "x_{1..2}": {"column": "y_{5..6}", "size": 3},
        "w_{1..2}": None,
        7: {},
    }
    assert expand_columns(document) == {
        "a": {"column": "b"},
        "x_1": {"column": "y_5", "size": 3},
        "x_2": {"column": "y_6", "size": 3},
        "w_1": None,
        "w_2": None,
        7: {},
    }
    assert expand_columns("no mapping") == "no mapping"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x_{1..3}": {"column": "y_{1..2}"}}, "'x_{1..3}' stands for 3 names, its column 'y_{1..2}' for 2"),
        ({"x_{1..2}": {"column": "y"}}, "'x_{1..2}' stands for 2 names, its column 'y' for 1"),
        ({"x": {"column": "y_{1..2}"}}, "'x' stands for 1 names, its column 'y_{1..2}' for 2"),
        ({"x_2": {}, "x_{1..3}": {}}, "'x_2' occurs twice"),
    ],
)
def test_runs_that_do_not_fit(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        expand_columns(columns)
    assert str(error.value) == message


def test_runs_in_a_header() -> None:
    assert TableSection(files=("x",), header=("id", "x_{1..3}")).header == ("id", "x_1", "x_2", "x_3")
    refuse(TableSection, {"files": ["x"], "header": ["x_2", "x_{1..3}"]}, "a column's name occurs twice")


def refuse(kind: type[Section], document: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^here: .*{message}"):
        parse(kind, document, "here")


def test_defaults() -> None:
    join = JoinSection(files=("x",), key="user")
    assert (join.how, join.key_there, join.delimiter, join.quote, join.columns) == ("left", None, ",", '"', {})
    task = TaskSection(column="click")
    assert (task.positive, task.negative, task.scenarios) == ((1, "true"), (0, "false"), None)
    assert task.expected == "a label 0 or 1"
    assert TaskSection(column="click", positive=("Y",), negative=("N", 0)).expected == "a label N, 0 or Y"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "give either column and values, column and bands, or names"),
        ({"column": "x"}, "give either column and values, column and bands, or names"),
        ({"values": {1: "NL"}}, "give either column and values, column and bands, or names"),
        (
            {"column": "x", "values": {1: "NL"}, "names": ["NL"]},
            "give either column and values, column and bands, or names",
        ),
        ({"column": "x", "names": ["NL"]}, "give either column and values, column and bands, or names"),
        ({"names": ["NL", "ES", "NL"]}, "scenario names must not repeat"),
        ({"names": []}, "names"),
        ({"names": ["../NL"]}, "names"),
    ],
)
def test_scenarios(document: dict[str, Any], message: str) -> None:
    refuse(ScenarioSection, document, message)


@pytest.mark.parametrize(
    ("kind", "document", "message"),
    [
        (TaskSection, {"column": "x", "positive": [1, 2], "negative": ["2"]}, "2 is both positive and negative"),
        (TaskSection, {"column": "x", "positive": []}, "positive"),
        (TaskSection, {"column": "x", "scenarios": []}, "scenarios"),
        (TaskSection, {"column": "x", "at_least": 4, "negative": [0]}, "either at_least, or positive and negative"),
        (ScenarioSection, {"column": "age", "bands": [35, 25]}, "bands must ascend"),
        (SeveralSection, {"columns": ["a", "b"], "flags": ["c", "d"], "most": 2}, "got columns, flags"),
        (SeveralSection, {"columns": ["a_{1..2}", "a_2"], "most": 2}, "two or more different columns"),
        (SeveralSection, {"flags": ["a"], "most": 2}, "two or more different columns"),
        (
            FieldSection,
            {"column": "a", "several": {"flags": ["b", "c"], "most": 2}, "values": ["b"], "embedding": "local"},
            "either column, or columns or flags",
        ),
        (FieldSection, {"bands": [35, 25], "embedding": "federated"}, "bands must ascend"),
        (FieldSection, {"bands": [25], "vocabulary": {}, "embedding": "local"}, "got bands, vocabulary"),
        (ScenarioSection, {"bands": [25]}, "give either column and values, column and bands, or names"),
        (ScenarioSection, {"column": "age", "bands": [25], "values": {1: "a"}}, "give either column and values"),
        (FieldSection, {"embedding": "local", "vocabulary": {}, "several": {"most": 1}}, r"several\.most"),
        (FileSplit, {}, "give exactly one of validation, cut; got none"),
        (FileSplit, {"validation": "va", "cut": {"share": 0.1}}, "one of validation, cut; got validation, cut"),
        (FileSplit, {"cut": {"share": 1.0}}, r"key 'cut\.share'"),
        (RandomSplit, {"validation": 0.5, "test": 0.5}, "leave no training rows"),
        (DateSplit, {"column": "day", "last_days": {}, "test": [1]}, "give either last_days, or both"),
        (SplitSection, {"random": {"validation": 0.1, "test": 0.1}, "by_user": {"validation": 0.1, "test": 0.1}},
         "got random, by_user"),
        (FieldSection, {"embedding": "federated", "vocabulary": {}}, "cannot learn its vocabulary locally"),
        (NumericSection, {"clip": [1, 1]}, "the first must be below the second"),
        (NegativesSection, {"task": "ctr", "scenarios": ["NL"], "item": "item", "per_positive": -1}, "per_positive"),
        (NegativesSection, {"task": "ctr", "scenarios": [], "item": "item"}, "scenarios"),
        (JoinSection, {"files": ["x"], "key": "user", "how": "outer"}, "how"),
        (JoinSection, {"files": [], "key": "user"}, "files"),
    ],
)  # fmt: skip
def test_what_is_refused(kind: type[Section], document: dict[str, Any], message: str) -> None:
    refuse(kind, document, message)


def test_two_runs_in_one_name() -> None:
    with pytest.raises(ValueError, match="has two runs"):
        expand_run("x_{1..2}_{1..2}")
