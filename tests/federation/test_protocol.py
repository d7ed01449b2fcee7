from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from replies import unpack_replies
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.protocol import (
    Delivery,
    Incoming,
    Order,
    Reply,
    Stage,
    check_tensors,
    pack_orders,
    pack_replies,
    pack_tensors,
    payload_bytes,
    scenarios_without_tables,
    unpack_orders,
    unpack_tensors,
)
from pfmsmtrec_flwr.model import Part

ORDER = Order("{}", "fedbn", 3, 5, Stage.TOWERS, (Part.TOWER, Part.GATE), True, {"NL": 2}, {"NL": 4}, 17, "own.py")


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def test_an_order_survives_its_journey() -> None:
    assert Order.unpack(ORDER.pack()) == ORDER
    plain = Order("{}", "alone", 1, 1)
    assert Order.unpack(plain.pack()) == plain


@pytest.mark.parametrize("record", [ConfigRecord({"version": 1, "order": "{}"}), ConfigRecord({"order": "{}"})])
def test_another_version_is_refused(record: ConfigRecord) -> None:
    with pytest.raises(UserError, match="this client speaks 7: install the same version"):
        Order.unpack(record)


def test_a_scenario_is_given_what_is_its_own_and_what_is_common() -> None:
    personal = {"NL": {"v": torch.zeros(2)}, "common": {"v": torch.ones(2)}}
    own = {"NL": {"t": ChangedRows(torch.tensor([1]), torch.zeros(1, 2), None)}}
    incoming = Incoming({"w": torch.ones(3)}, personal, personal_changes=own)
    delivery = Delivery(pack_orders(ORDER, incoming, ["NL", "common"]))
    first, second = (delivery.to([name]) for name in delivery.scenarios)
    assert (equal(first.personal["NL"], personal["NL"]), list(first.personal)) == (True, ["NL"])
    assert (equal(second.personal["common"], personal["common"]), list(second.personal)) == (True, ["common"])
    assert (list(first.personal_changes["NL"]), second.personal_changes) == (["t"], {"common": {}})
    assert first.common["w"].data_ptr() == second.common["w"].data_ptr()  # it takes memory once


def test_parameters_survive_their_journey() -> None:
    incoming = Incoming(
        common={"count": torch.tensor(7), "w": torch.tensor([[1.0, -0.0], [float("inf"), 1e-40]])},
        personal={"NL": {"v": torch.ones(2, dtype=torch.float64)}, "US": {}},
    )
    order, back, scenarios = unpack_orders(pack_orders(ORDER, incoming, ["NL", "US"]))
    assert (order, scenarios) == (ORDER, ["NL", "US"])
    assert equal(back.common, incoming.common)
    assert equal(back.personal["NL"], incoming.personal["NL"])
    assert back.personal["US"] == {}


def test_changed_rows_survive_their_journey() -> None:
    common, own = (ChangedRows.of(torch.rand(4, 2), torch.tensor(rows, dtype=torch.int64)) for rows in ([1, 3], []))
    incoming = Incoming({}, {}, common_changes={"t": common}, personal_changes={"NL": {"t": own}, "FR": {"t": own}})
    content = pack_orders(ORDER, incoming, ["NL", "US"])
    assert set(content.array_records) == {"/rows/t", "NL/rows/t"}  # FR is not a scenario of the message
    _, back, _ = unpack_orders(content)
    assert back.personal_changes["US"] == {}
    for one, other in ((back.common_changes["t"], common), (back.personal_changes["NL"]["t"], own)):
        assert equal({"rows": one.rows, "values": one.values}, {"rows": other.rows, "values": other.values})
        assert one.checksum is not None and other.checksum is not None
        assert torch.equal(one.checksum, other.checksum)


def test_parameters_in_low_precision_survive_their_journey() -> None:
    beyond = torch.tensor([1e6, 0.0])
    change = ChangedRows.of(torch.full((300, 2), 0.1), torch.tensor([1, 200]))
    personal = {"NL": {"u": torch.full((2,), 0.1), "n": torch.tensor(3)}}
    incoming = Incoming({"w": beyond}, personal, {"t": change}, {"NL": {"s": change}}).halved()
    order, back, names = unpack_orders(pack_orders(replace(ORDER, copies={"NL": 7}), incoming, ["NL"]))
    assert order.copies == {"NL": 7}
    again = unpack_orders(pack_orders(order, back, names))[1].widened()  # a message that is repeated
    assert again.common["w"].tolist() == beyond.tolist()
    assert {name: tensor.dtype for name, tensor in again.personal["NL"].items()} == {
        "u": torch.float32,
        "n": torch.int64,
    }
    for made in (again.common_changes["t"], again.personal_changes["NL"]["s"]):
        assert (made.rows.tolist(), made.checksum) == ([1, 200], None)
        torch.testing.assert_close(made.values, torch.full((2, 2), 0.1), rtol=2.0**-11, atol=0)
    assert "copies" not in str(ORDER.pack()["order"])


def test_scenarios_that_lack_tables_are_found_without_unpacking() -> None:
    replies = {"NL": Reply(error="none", lacks_tables=True), "US": Reply(error="other"), "FR": Reply({"examples": 1.0})}
    content = pack_replies(ORDER, replies)
    assert scenarios_without_tables(content) == ["NL"]
    assert unpack_replies(content) == replies


def test_only_the_scenarios_of_the_message_travel() -> None:
    incoming = Incoming({}, {"NL": {"v": torch.ones(2)}, "US": {"v": torch.ones(2)}})
    content = pack_orders(ORDER, incoming, ["US"])
    assert set(content.array_records) == {"US/parameters"}


def test_replies_survive_their_journey() -> None:
    rows = RowUpdate(torch.tensor([0, 4]), torch.tensor([[1.0], [2.0]]), torch.tensor([3, 1]))
    replies = {
        "NL": Reply({"examples": 5.0, "loss": 0.1 + 0.2}, {"w": torch.tensor([1.5])}, {"table.weight": rows}),
        "NL.2": Reply(error='no rows, "none"'),
        "US": Reply({"test.auc.click": 0.5}, draws={"click": np.array([0.25, math.nan, 1 / 3], np.float32)}),
    }
    back = unpack_replies(pack_replies(ORDER, replies))
    assert list(back) == ["NL", "NL.2", "US"]
    assert back["NL"].figures == replies["NL"].figures
    assert equal(back["NL"].parameters, replies["NL"].parameters)
    update = back["NL"].rows["table.weight"]
    assert equal(
        {"r": update.rows, "v": update.values, "c": update.counts}, {"r": rows.rows, "v": rows.values, "c": rows.counts}
    )
    assert back["NL.2"] == replies["NL.2"]
    assert back["US"].draws["click"].dtype == np.float32
    np.testing.assert_array_equal(back["US"].draws["click"], replies["US"].draws["click"])


def test_what_is_unpacked_shares_no_memory() -> None:
    record = pack_tensors({"w": torch.zeros(3)})
    first = unpack_tensors(record)
    first["w"] += 1
    assert unpack_tensors(record)["w"].tolist() == [0, 0, 0]
    assert unpack_tensors(None) == {}


def test_bytes_are_those_of_the_arrays() -> None:
    content = pack_orders(ORDER, Incoming({"w": torch.zeros(100)}, {"NL": {"v": torch.zeros(50)}}), ["NL"])
    assert payload_bytes(content) == 150 * 4 + 2 * 128  # numpy's header has 128 bytes


EXPECTED = {"w": torch.zeros(2, 3), "count": torch.tensor(4)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": torch.zeros(3, 2)}, r"NL: parameter w is torch.float32 \(3, 2\), expected torch.float32 \(2, 3\)"),
        ({"w": torch.zeros(1, 3)}, r"\(1, 3\), expected"),
        ({"w": torch.zeros(2, 3, dtype=torch.float64)}, r"is torch.float64 \(2, 3\), expected torch.float32"),
        ({"count": torch.tensor(4.0)}, r"count is torch.float32 \(\), expected torch.int64"),
        ({"w": torch.full((2, 3), float("nan"))}, r"w has values that are not finite; lower train.lr"),
        ({"w": torch.full((2, 3), -float("inf"))}, r"w has values that are not finite"),
        ({"stranger": torch.zeros(1)}, r"parameters \['stranger'\] are missing or unknown"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_tensors(EXPECTED | change, EXPECTED, "NL")


def test_missing_tensors_are_refused_and_whole_numbers_pass() -> None:
    with pytest.raises(UserError, match=r"\['count'\] are missing or unknown; the models of server and client differ"):
        check_tensors({"w": torch.zeros(2, 3)}, EXPECTED, "NL")
    check_tensors({"w": torch.ones(2, 3), "count": torch.tensor(9)}, EXPECTED, "NL")
