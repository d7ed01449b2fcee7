from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.client.tables import Received, TablesLackError, copies_after, received_tables
from pfmsmtrec_flwr.federation.client.used_rows import UsedRows
from pfmsmtrec_flwr.federation.protocol import Incoming, Tensors

FORMS = {"item": torch.empty(3, 1, device="meta")}
TABLE = torch.tensor([[1.0], [2.0], [3.0]])
CHANGE = ChangedRows.of(TABLE, torch.tensor([1]))
COPY = torch.tensor([[1.0], [9.0], [3.0]])
STORE: Any = SimpleNamespace(scenario="NL")


def taken(incoming: Incoming, copies: Tensors) -> Received:
    known = {name: TableCopy.of(copy) for name, copy in copies.items()}
    return received_tables(incoming, known, FORMS, UsedRows.all_of(STORE))


@pytest.mark.parametrize("personal", [False, True])
def test_rows_become_the_table_they_were_taken_from(personal: bool) -> None:
    gate = {"gate": torch.ones(2)}
    changes = {"item": CHANGE}
    if personal:
        incoming = Incoming({}, {"NL": gate}, personal_changes={"NL": changes, "US": changes})
        expected = Incoming({}, {"NL": gate | {"item": TABLE}})
    else:
        incoming = Incoming(gate, {}, common_changes=changes)
        expected = Incoming(gate | {"item": TABLE}, {"NL": {}})
    whole = taken(incoming, {"item": COPY}).incoming
    assert (whole.common_changes, whole.personal_changes) == ({}, {})
    for one, other in ((whole.common, expected.common), (whole.personal["NL"], expected.personal["NL"])):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], tensor) for name, tensor in other.items())


@pytest.mark.parametrize("copies", [{}, {"item": TABLE + 1}])
def test_a_copy_that_is_missing_or_another_one_is_said(copies: Tensors) -> None:
    with pytest.raises(TablesLackError, match=r"^scenario NL has no copy of item to which the changed rows belong$"):
        taken(Incoming({}, {}, common_changes={"item": CHANGE}), copies)


def test_a_common_table_of_others_is_left_out() -> None:
    received = taken(Incoming({}, {}, common_changes={"stranger": CHANGE}), {})
    assert (received.incoming.common, received.copies) == ({}, {})


def test_changed_rows_that_are_not_finite_are_refused() -> None:
    table = torch.tensor([[1.0], [float("nan")], [3.0]])
    change = ChangedRows.of(table, torch.tensor([1]))
    with pytest.raises(UserError, match=r"^scenario NL: parameter item has values that are not finite"):
        taken(Incoming({}, {}, common_changes={"item": change}), {"item": COPY})


@pytest.mark.parametrize(
    "table", [torch.ones(()), torch.ones(3), torch.ones(4, 1), torch.ones(3, 1, dtype=torch.int64)]
)
def test_a_whole_table_of_another_form_is_refused(table: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"^scenario NL: parameter item is torch.*, expected torch.float32 \(3, 1\)$"):
        taken(Incoming({"item": table}, {}), {})


def test_copies_are_tables_as_received_with_the_rows_that_are_sent_back() -> None:
    update = RowUpdate(torch.tensor([0, 2]), torch.tensor([[5.0], [6.0]]), torch.tensor([1, 1]))
    changed = Incoming({}, {}, common_changes={"item": CHANGE})
    for incoming in (Incoming({"item": TABLE, "gate": TABLE}, {}), Incoming({}, {"NL": {"item": TABLE}}), changed):
        came = taken(incoming, {"item": COPY}).copies
        copies = copies_after(came, {"item": update})
        assert copies["item"].table().flatten().tolist() == [5.0, 2.0, 6.0]
        assert list(copies) == ["item"]
        assert torch.equal(copies_after(came, {})["item"].table(), TABLE)
    assert TABLE.flatten().tolist() == [1.0, 2.0, 3.0]
    assert copies_after({}, {"item": update}) == {}
