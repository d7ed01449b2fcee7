from __future__ import annotations

import json
import math
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import Precision
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.array_forms import ArrayForm
from pfmsmtrec_flwr.federation.changes import Changes, CodedRows
from pfmsmtrec_flwr.federation.protocol import Order, Reply, Stage, pack_replies
from pfmsmtrec_flwr.federation.rounding import rounded
from pfmsmtrec_flwr.federation.server.expected_reply import ExpectedReply, coded_forms
from pfmsmtrec_flwr.federation.server.figure_ranges import FigureRanges, start_ranges, training_ranges
from pfmsmtrec_flwr.federation.server.reading import Records, read_reply

ORDER = Order("{}", "fedavg", 3, 5, Stage.ALL)


TABLE = "table.weight"
ROWS = rf"scenario B, table {TABLE}: "
UPDATE = Reply(
    {"examples": 5.0, "loss.click": 0.5},
    {"w": torch.tensor([[1.0, 2.0]])},
    {TABLE: RowUpdate(torch.tensor([0, 3]), torch.ones(2, 2), torch.tensor([9, 1]))},
)
OWED = ExpectedReply(
    "B",
    ORDER,
    training_ranges(["click"], most_rows=5),
    parameters={"w": ArrayForm.of(torch.zeros(1, 2))},
    tables={TABLE: ArrayForm.of(torch.zeros(4, 2))},
    uses=2,
)


def records(reply: Reply, order: Order = ORDER) -> dict[str, Any]:
    return {key.partition("/")[2]: record for key, record in pack_replies(order, {"B": reply}).items()}


def rows(numbers: list[int], counts: list[int], width: int = 2) -> Reply:
    update = RowUpdate(torch.tensor(numbers), torch.ones(len(numbers), width), torch.tensor(counts))
    return replace(UPDATE, rows={TABLE: update})


def test_a_reply_that_fits_is_read_as_it_was() -> None:
    read = read_reply(records(UPDATE), OWED)
    assert read.figures == UPDATE.figures
    assert torch.equal(read.parameters["w"], UPDATE.parameters["w"])
    update = read.rows[TABLE]
    assert (update.rows.tolist(), update.counts.tolist(), update.rows.dtype) == ([0, 3], [9, 1], torch.int64)
    assert torch.equal(update.values, torch.ones(2, 2))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (replace(UPDATE, error="the disk is full"), "the disk is full$"),
        (replace(UPDATE, lacks_tables=True), "scenario B: the reply says that tables are lacking, without an error$"),
        (replace(UPDATE, parameters={}), "scenario B: the record parameters is missing$"),
        (
            replace(UPDATE, parameters={"v": torch.zeros(1)}),
            r"scenario B: parameters \['v', 'w'\] are missing",
        ),
        (replace(UPDATE, rows={}), f"scenario B: the record rows/{TABLE} is missing$"),
        (replace(UPDATE, rows=UPDATE.rows | {"x": UPDATE.rows[TABLE]}), "scenario B: the record rows/x is unknown$"),
        (replace(UPDATE, draws={"click": np.ones(1, np.float32)}), "scenario B: the record draws is unknown$"),
        (replace(UPDATE, figures=UPDATE.figures | {"examples": 6.0}), "scenario B: the figure examples is 6, expected"),
        (rows([0, 4], [1, 1]), f"{ROWS}the row numbers do not ascend from 0 to 4, each once$"),
        (rows([-1, 3], [1, 1]), f"{ROWS}the row numbers do not ascend"),
        (rows([3, 0], [1, 1]), f"{ROWS}the row numbers do not ascend"),
        (rows([3, 3], [1, 1]), f"{ROWS}the row numbers do not ascend"),
        (
            rows([0, 3], [10, 1]),
            f"{ROWS}the counts sum to 11, expected 1 at least each, 10 in all$",
        ),
        (rows([0, 3], [1, 0]), f"{ROWS}the counts sum to 1, expected 1 at least each"),
        (
            rows([0, 1, 2, 3, 3], [1] * 5),
            rf"{ROWS}rows is int32 \(5\), expected int32 \(up to 4\)$",
        ),
        (
            rows([0, 3], [1, 1], width=3),
            rf"{ROWS}values is float32 \(2, 3\), expected float32 \(2, 2\)$",
        ),
    ],
)
def test_a_reply_that_differs_is_refused(reply: Reply, said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}"):
        read_reply(records(reply), OWED)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (replace(ORDER, exchange=4), "answers exchange 4, expected exchange 5: it came too late$"),
        (replace(ORDER, round=2), "answers round 2, expected round 3"),
        (replace(ORDER, method="fedper"), "answers method fedper, expected method fedavg"),
        (replace(ORDER, stage=Stage.TOWERS), "answers stage towers, expected stage all"),
    ],
)
def test_an_answer_to_another_order_is_refused(order: Order, said: str) -> None:
    with pytest.raises(UserError, match=f"^scenario B: the reply {said}"):
        read_reply(records(UPDATE, order), OWED)


def test_all_rows_may_come_once_each_where_noise_hides_the_touched_ones() -> None:
    whole = rows([0, 1, 2, 3], [1] * 4)
    few = replace(OWED, uses=0)
    assert len(read_reply(records(whole), replace(few, every_row=True)).rows[TABLE].rows) == 4
    with pytest.raises(UserError, match="the counts sum to 4, expected 1 at least each, 0 in all"):
        read_reply(records(whole), few)


def test_a_new_scenario_sends_no_parameters_at_the_start() -> None:
    owed = ExpectedReply("B", ORDER, start_ranges(), OWED.parameters, arrays_if="starts")
    assert read_reply(records(Reply({"starts": 0.0})), owed).parameters == {}
    assert read_reply(records(Reply({"starts": 1.0}, UPDATE.parameters)), owed).parameters.keys() == {"w"}
    for reply in (Reply({"starts": 1.0}), Reply({"starts": 0.0}, UPDATE.parameters), Reply({"starts": 0.5})):
        with pytest.raises(UserError, match=r"^scenario B: the (record parameters|figure starts) is "):
            read_reply(records(reply), owed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "examples"]), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.sampled_from(["method", "round", "exchange", "stage", "figures", "error", "more"]), JSON, st.text())
def test_no_document_raises_anything_but_a_refusal(key: str, value: Any, text: str) -> None:
    honest = records(UPDATE)
    for document in (text, json.dumps(json.loads(honest["reply"]["reply"]) | {key: value})):
        changed = honest | {"reply": ConfigRecord({"reply": document, "lacks_tables": False})}
        with suppress(UserError):
            assert read_reply(changed, OWED).figures == UPDATE.figures


@pytest.mark.parametrize(
    "record", [ConfigRecord({"x": 1}), ArrayRecord(), ConfigRecord({"reply": 1, "lacks_tables": False})]
)
@pytest.mark.parametrize("kind", ["reply", "parameters", f"rows/{TABLE}"])
def test_a_record_of_another_kind_is_refused(kind: str, record: Any) -> None:
    changed: Records = records(UPDATE) | {kind: record}
    with pytest.raises(UserError, match=r"^scenario B"):
        read_reply(changed, OWED)


@pytest.mark.parametrize(
    ("drawn", "draws", "said"),
    [
        ({"click": [0.5, math.nan], "like": [0.0, 1.0]}, 2, ""),
        ({}, 0, ""),
        ({}, 2, "the record draws is missing"),
        ({"click": [0.5, 0.5]}, 2, "got no record of draws for click, like"),
        ({"click": [0.5], "like": [0.5]}, 2, "the draws of click are not 2 numbers"),
        ({"click": [0.5], "like": [0.5]}, 0, "the record draws is unknown"),
        ({"click": [1.0, 0.0], "like": [0.5, 1.5]}, 2, "the draws of like reach from 0.5 to 1.5, no AUC does"),
        ({"click": [1.0, 0.0], "like": [-math.inf, 1.0]}, 2, "the draws of like reach from -inf to 1, no AUC does"),
    ],
)
def test_draws_are_of_each_task_and_as_many_as_ordered(drawn: dict[str, Any], draws: int, said: str) -> None:
    reply = Reply(draws={task: np.array(auc, dtype=np.float32) for task, auc in drawn.items()})
    expected = ExpectedReply(
        "B", ORDER, FigureRanges({}), draws=dict.fromkeys(("click", "like"), draws) if draws else {}
    )
    with pytest.raises(UserError, match=f"^scenario B: {said}") if said else nullcontext():
        read = read_reply(records(reply), expected)
        assert {task: auc.dtype for task, auc in read.draws.items()} == dict.fromkeys(drawn, np.dtype(np.float32))


# Low precision --------------------------------------------------------------------------------------------------------


def coded(precision: Precision, numbers: list[int], counts: list[int], width: int = 2) -> Reply:
    change = rounded(torch.full((len(numbers), width), 0.5), precision)
    tables = {TABLE: CodedRows(torch.tensor(numbers), change, torch.tensor(counts))}
    changes = Changes({"w": rounded(torch.tensor([[1.0, 2.0]]), precision)}, tables)
    return Reply(UPDATE.figures, {"mean": torch.ones(1)}, changes=changes)


def owed(precision: Precision) -> ExpectedReply:
    values, scales = coded_forms(OWED.parameters["w"], precision)
    return replace(
        OWED,
        parameters={"w": values, "mean": ArrayForm.of(torch.ones(1))},
        changes={"w"},
        scales={"w": scales} if scales else {},
        precision=precision,
    )


@pytest.mark.parametrize("precision", ["half", "int8"])
def test_changes_in_low_precision_are_read_as_they_were(precision: Precision) -> None:
    sent = coded(precision, [0, 3], [9, 1])
    read = read_reply(records(sent), owed(precision))
    assert read.parameters.keys() == {"mean"}
    assert read.rows == {}
    assert read.changes.fingerprint() == sent.changes.fingerprint()
    ends, tables = read.changes.added_to({"w": torch.full((1, 2), 5.0), TABLE: torch.zeros(4, 2)})
    torch.testing.assert_close(ends["w"], torch.tensor([[6.0, 7.0]]), rtol=0, atol=0.01)
    assert (tables[TABLE].rows.tolist(), tables[TABLE].counts.tolist()) == ([0, 3], [9, 1])
    torch.testing.assert_close(tables[TABLE].values, torch.full((2, 2), 0.5), rtol=0, atol=0.01)


@pytest.mark.parametrize("precision", ["half", "int8"])
@pytest.mark.parametrize(
    ("numbers", "counts", "width", "said"),
    [
        ([0, 4], [1, 1], 2, "the row numbers do not ascend from 0 to 4, each once$"),
        ([3, 3], [1, 1], 2, "the row numbers do not ascend"),
        ([0, 3], [10, 1], 2, "the counts sum to 11, expected 1 at least each, 10 in all$"),
        ([0, 3], [1, 0], 2, "the counts sum to 1, expected 1 at least each"),
        ([0, 3], [2**34, 1], 2, "the counts sum to 17179869185, expected"),
        ([0, 3], [1], 2, "got 1 counts for 2 rows$"),
        ([0, 3], [1] * 11, 2, r"counts is uint8 \(11\), expected uint8 \(up to 10\)$"),
        ([0, 1, 2, 3] * 6, [1] * 24, 2, "the row numbers do not ascend|rows is uint8"),
        ([0, 3], [1, 1], 3, r"values is \w+ \(2, 3\), expected \w+ \(2, 2\)$"),
    ],
)
def test_rows_in_low_precision_that_differ_are_refused(
    precision: Precision, numbers: list[int], counts: list[int], width: int, said: str
) -> None:
    with pytest.raises(UserError, match=f"^{ROWS}{said}"):
        read_reply(records(coded(precision, numbers, counts, width)), owed(precision))


@pytest.mark.parametrize("sent", ["full", "half", "int8"])
@pytest.mark.parametrize("wanted", ["full", "half", "int8"])
def test_another_precision_than_that_of_the_run_is_refused(sent: Precision, wanted: Precision) -> None:
    reply = UPDATE if sent == "full" else coded(sent, [0, 3], [9, 1])
    expected = OWED if wanted == "full" else owed(wanted)
    with nullcontext() if sent == wanted else pytest.raises(UserError, match=r"^scenario B"):
        read_reply(records(reply), expected)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("precision", ["half", "int8"])
def test_a_change_that_is_not_finite_is_refused(precision: Precision, value: float) -> None:
    reply = coded(precision, [0, 3], [9, 1])
    wrong = replace(
        reply, changes=replace(reply.changes, parameters={"w": rounded(torch.full((1, 2), value), precision)})
    )
    with pytest.raises(UserError, match=r"parameter w has values that are not finite; lower train\.lr$"):
        read_reply(records(wrong), owed(precision))
    coded_rows = replace(reply.changes.rows[TABLE], change=rounded(torch.full((2, 2), value), precision))
    wrong = replace(reply, changes=replace(reply.changes, rows={TABLE: coded_rows}))
    with pytest.raises(UserError, match=rf"^{ROWS}(values|scales) has values that are not finite"):
        read_reply(records(wrong), owed(precision))


@pytest.mark.parametrize("data", [[0, 128], [255] * 6])
@pytest.mark.parametrize("name", ["rows", "counts"])
def test_bytes_that_are_no_numbers_are_refused(name: str, data: list[int]) -> None:
    changed = records(coded("half", [0, 3], [9, 1]))
    changed[f"rows/{TABLE}"][name] = Array(np.array(data, np.uint8))
    with pytest.raises(UserError, match=rf"^{ROWS}{name}: (the last number has no end|a number has more)"):
        read_reply(changed, owed("half"))
