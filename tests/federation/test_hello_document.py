from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from hellos import described
from hypothesis import given, settings
from hypothesis import strategies as st

import pfmsmtrec_flwr
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.hello_document import LONGEST_HELLO, read_hello

NL = described("NL")


def saying(text: Any) -> RecordDict:
    return RecordDict({"hello": ConfigRecord({"hello": text})})


def hosting(**changes: Any) -> RecordDict:
    document = {"version": pfmsmtrec_flwr.__version__, "partitions": 0, "scenarios": [NL], "error": ""}
    return saying(json.dumps(document | changes))


def test_an_honest_answer_is_read() -> None:
    document = read_hello(hosting(), "node 4")
    assert [each.scenario for each in document.scenarios] == ["NL"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scenario": "../x"}, "key 'scenarios.0.scenario': got '../x'"),
        ({"scenario": ""}, "key 'scenarios.0.scenario': got ''"),
        ({"rows": [-1, 1]}, "key 'scenarios.0.rows.0': got -1"),
        ({"rows": [2**40, 1]}, "key 'scenarios.0.rows.0': got 1"),
        ({"rows": [2**31 - 1, 1]}, ".*: the tables have more than 2147483647 rows together"),
        ({"rows": [12, 9]}, ".*: a local table has another registered size than 1"),
        ({"rows": [12]}, ".*: lists of fields or of tasks differ in length"),
        ({"used_positives": [1]}, ".*: lists of fields or of tasks differ in length"),
        ({"labelled": {"test": [1]}}, ".*: lists of fields or of tasks differ in length"),
        ({"used_labelled": [1]}, ".*: lists of fields or of tasks differ in length"),
        ({"most": [1]}, ".*: lists of fields or of tasks differ in length"),
        ({"used_rows": 11}, ".*: positives, labelled rows, used rows and rows of a split do not fit together"),
        ({"train_positives": [11, 1]}, ".*: positives, labelled rows, used rows and rows of a split do not fit"),
        ({"labelled": {"test": [6, 1]}}, ".*: positives, labelled rows, used rows and rows of a split do not fit"),
        ({"examples": {"train": 10, "test": 5}}, ".*: the numbers of rows are not those of train, validation and test"),
        ({"examples": NL["examples"] | {"test": -1}}, "key 'scenarios.0.examples.test': got -1"),
        ({"tasks": ["click", "click"]}, ".*: a task or a field is there twice"),
        ({"tasks": ["click", "li\x1bke"]}, "key 'scenarios.0.tasks.1': .*printable"),
        ({"numeric": 10**9}, "key 'scenarios.0.numeric': got 1000000000"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^node 4: {said}"):
        read_hello(hosting(scenarios=[NL | changes]), "node 4")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (hosting(error="no data\n\x1b[31m"), r"no data \[31m$"),
        (hosting(partitions=-1), "key 'partitions': got -1; input should be greater than or equal to 0$"),
        (hosting(more=1), "unknown key 'more'"),
        (hosting(version=None), "key 'version': got null; input should be a valid string$"),
        (saying(json.dumps({"version": "9", "other": 1})), ""),
        (saying("[" * 10**5), "key '.document.': .*recursion limit"),
        (saying("x" * (LONGEST_HELLO + 1)), "the answer to the handshake is not a document of pfmsmtrec-flwr$"),
        (saying(1), "the answer to the handshake is not a document of pfmsmtrec-flwr$"),
        (RecordDict(), "the answer to the handshake is not a document of pfmsmtrec-flwr$"),
        (RecordDict({"hello": ArrayRecord()}), "the answer to the handshake is not a document of pfmsmtrec-flwr$"),
    ],
)
def test_an_answer_that_is_no_document_is_refused_in_one_line(content: RecordDict, said: str) -> None:
    with pytest.raises(UserError, match=f"^node 4:? {said}" if said else "^node 4 runs pfmsmtrec-flwr 9, ") as caught:
        read_hello(content, "node 4")
    assert str(caught.value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NL, "x"]), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30)
@given(st.sampled_from(sorted(NL)), JSON)
def test_no_value_raises_anything_but_a_refusal(name: str, value: Any) -> None:
    with suppress(UserError):
        read_hello(hosting(scenarios=[NL | {name: value}]), "node 4")
