from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import FederationSettings, RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.feedback import (
    ROUNDING,
    Lost,
    LostRows,
    RoundedReply,
    known_copies,
    rounded_reply,
)
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.client.used_rows import UsedRows
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply
from pfmsmtrec_flwr.model import Part, Slot

SLOTS = {
    "w": Slot("w", Part.EXPERT),
    "table": Slot("table", Part.FEDERATED_EMBEDDING),
    "mean": Slot("mean", Part.NORMALIZATION, statistic=True),
}
CAME = {"w": torch.zeros(1, 2), "table": torch.zeros(4, 2), "mean": torch.zeros(2)}
STORE: Any = SimpleNamespace(scenario="NL")
THIRD = 1 / 3


def scenario(precision: str = "int8") -> Any:
    config = RunConfig(federation=FederationSettings.model_validate({"precision": precision}))
    return SimpleNamespace(config=config, slots=SLOTS, store=STORE, used=UsedRows.all_of(STORE))


def ordered(exchange: int, counted: int, **copies: int) -> Order:
    return Order("{}", "fedavg", 1, exchange, counted={"NL": counted}, copies=copies)


def trained(value: float, *rows: int) -> Reply:
    values = torch.tensor([[1.0, value]])
    update = RowUpdate(torch.tensor(rows), values.repeat(len(rows), 1), torch.ones(len(rows), dtype=torch.int64))
    return Reply({}, {"w": values, "mean": torch.full((2,), value)}, {"table": update})


def answer(exchange: int, counted: int, reply: Reply, memory: ClientMemory | None = None) -> RoundedReply:
    return rounded_reply(scenario(), ordered(exchange, counted), Incoming(CAME, {}), reply, memory or ClientMemory())


def kept(given: RoundedReply) -> ClientMemory:
    """The memory as it is read from its file."""
    return ClientMemory.from_tensors(ClientMemory().with_scope(ROUNDING, given.memory).to_tensors())


def lost(given: RoundedReply) -> Tensor:
    return Lost.from_memory(given.memory).parameters["w"]


def test_full_precision_changes_nothing() -> None:
    reply = trained(THIRD, 1)
    given = rounded_reply(scenario("full"), ordered(1, 0), Incoming(CAME, {}), reply, ClientMemory())
    assert given.reply.parameters is reply.parameters
    assert given.reply.rows == given.rows == reply.rows
    assert given.memory.is_empty
    tables = {"table": TableCopy.of(torch.ones(1, 1))}
    assert known_copies(scenario("full"), ordered(2, 1), ClientMemory(tables=tables)) is tables


def test_changes_take_the_place_of_values_and_statistics_stay_exact() -> None:
    given = answer(1, 0, trained(THIRD, 1, 3))
    assert given.reply.parameters.keys() == {"mean"}
    assert given.reply.parameters["mean"].tolist() == trained(THIRD).parameters["mean"].tolist()
    assert given.reply.rows == {}
    changes = given.reply.changes
    assert changes.parameters["w"].values.dtype == torch.int8
    assert changes.rows["table"].rows.tolist() == [1, 3]
    torch.testing.assert_close(lost(given) + changes.parameters["w"].decoded(), torch.tensor([[1.0, THIRD]]))
    assert given.rows == {}  # of a common table what was moved is forgotten
    own = Incoming({}, {"NL": CAME})
    copies = rounded_reply(scenario(), ordered(1, 0), own, trained(THIRD, 1, 3), ClientMemory()).rows["table"]
    assert torch.equal(copies.values, changes.rows["table"].change.decoded())  # added to zeros


def test_what_was_lost_comes_with_the_next_update_that_follows_one_that_counted() -> None:
    first = answer(1, 0, trained(THIRD, 1))
    second = answer(2, 1, trained(THIRD, 1), kept(first))
    sent = first.reply.changes.parameters["w"].decoded() + second.reply.changes.parameters["w"].decoded()
    torch.testing.assert_close(sent + lost(second), torch.tensor([[2.0, 2 * THIRD]]))
    rows = [given.reply.changes.rows["table"].change.decoded() for given in (first, second)]
    after = Lost.from_memory(second.memory).rows["table"].values
    torch.testing.assert_close(rows[0] + rows[1] + after, torch.tensor([[2.0, 2 * THIRD]]))


def test_what_an_update_lost_that_did_not_count_is_forgotten() -> None:
    first = answer(1, 0, trained(THIRD, 1))
    uncounted = answer(2, 1, trained(0.7, 1, 2), kept(first))
    third = answer(3, 1, trained(0.1, 1), kept(uncounted))
    again = answer(3, 1, trained(0.1, 1), kept(first))  # as if the second had never been asked for
    assert torch.equal(lost(third), lost(again))
    assert third.reply.changes.fingerprint() == again.reply.changes.fingerprint()
    fourth = answer(4, 3, trained(0.1, 2), kept(third)).reply.changes.rows["table"]  # nothing is known of row 2
    assert torch.equal(fourth.change.values, answer(1, 0, trained(0.1, 2)).reply.changes.rows["table"].change.values)
    never = answer(2, 0, trained(THIRD, 1), kept(first))
    assert never.reply.changes.fingerprint() == first.reply.changes.fingerprint()


def test_what_is_lost_of_other_tensors_and_rows_stays() -> None:
    first = answer(1, 0, trained(THIRD, 1))
    reply = Reply({}, {}, trained(THIRD, 3).rows)  # an exchange that is asked for tables alone
    second = Lost.from_memory(answer(2, 1, reply, kept(first)).memory)
    assert torch.equal(second.parameters["w"], lost(first))
    assert second.rows["table"].rows.tolist() == [1, 3]


def test_copies_are_known_by_the_update_that_made_them() -> None:
    given = answer(1, 0, trained(THIRD, 1))
    memory = ClientMemory(tables={"table": TableCopy.of(CAME["table"])}).with_scope(ROUNDING, given.memory)
    assert known_copies(scenario(), ordered(2, 1, NL=given.reply.changes.fingerprint()), memory) is memory.tables
    for order in (ordered(2, 1, NL=5), ordered(2, 1), ordered(2, 1, US=given.reply.changes.fingerprint())):
        assert known_copies(scenario(), order, memory) == {}
    assert known_copies(scenario(), ordered(1, 0), ClientMemory()) == {}


def test_a_tensor_that_did_not_come_has_no_change() -> None:
    with pytest.raises(UserError, match=r"^scenario NL: \['w'\] did not come, so there is no change of it to send$"):
        rounded_reply(scenario(), ordered(1, 0), Incoming({}, {}), Reply({}, {"w": CAME["w"]}), ClientMemory())


def test_lost_rows_are_found_and_replaced() -> None:
    one = LostRows(torch.tensor([2, 5]), torch.tensor([[0.2], [0.5]]))
    assert one.at(torch.tensor([0, 5, 9])).flatten().tolist() == [0.0, 0.5, 0.0]
    both = one.replaced_by(LostRows(torch.tensor([0, 5]), torch.tensor([[1.0], [3.0]])))
    assert both.rows.tolist() == [0, 2, 5]
    assert both.values.flatten().tolist() == pytest.approx([1.0, 0.2, 3.0])
    none = LostRows(torch.empty(0, dtype=torch.int64), torch.empty(0, 1))
    assert none.at(torch.tensor([3])).tolist() == [[0.0]]
