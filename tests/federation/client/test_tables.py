from __future__ import annotations

import pytest
import torch

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.client.tables import TablesLackError, copies_after, with_whole_tables
from pfmsmtrec_flwr.federation.protocol import Incoming
from pfmsmtrec_flwr.model import Part, Slot

SLOTS = {"item": Slot("item", Part.FEDERATED_EMBEDDING), "gate": Slot("gate", Part.GATE)}
TABLE = torch.tensor([[1.0], [2.0], [3.0]])
CHANGE = ChangedRows.of(TABLE, torch.tensor([1]))
COPY = torch.tensor([[1.0], [9.0], [3.0]])


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
    whole = with_whole_tables(incoming, {"item": COPY.clone()}, SLOTS, "NL")
    assert (whole.common_changes, whole.personal_changes) == ({}, {})
    for one, other in ((whole.common, expected.common), (whole.personal["NL"], expected.personal["NL"])):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], tensor) for name, tensor in other.items())


@pytest.mark.parametrize("copies", [{}, {"item": TABLE + 1}])
def test_a_copy_that_is_missing_or_another_one_is_said(copies: dict[str, torch.Tensor]) -> None:
    with pytest.raises(TablesLackError, match=r"^scenario NL has no copy of item to which the changed rows belong$"):
        with_whole_tables(Incoming({}, {}, common_changes={"item": CHANGE}), copies, SLOTS, "NL")


def test_a_common_table_of_others_is_left_out() -> None:
    whole = with_whole_tables(Incoming({}, {}, common_changes={"stranger": CHANGE}), {}, SLOTS, "NL")
    assert whole.common == {}


def test_copies_are_tables_as_received_with_the_rows_that_are_sent_back() -> None:
    update = RowUpdate(torch.tensor([0, 2]), torch.tensor([[5.0], [6.0]]), torch.tensor([1, 1]))
    for incoming in (Incoming({"item": TABLE, "gate": TABLE}, {}), Incoming({}, {"NL": {"item": TABLE}})):
        copies = copies_after(incoming, {"item": update}, {}, SLOTS, "NL")
        assert copies["item"].flatten().tolist() == [5.0, 2.0, 6.0]
        assert list(copies) == ["item"]
        assert torch.equal(copies_after(incoming, {}, {}, SLOTS, "NL")["item"], TABLE)
    assert TABLE.flatten().tolist() == [1.0, 2.0, 3.0]
    assert copies_after(Incoming({}, {}), {"item": update}, {}, SLOTS, "NL") == {}


def test_a_copy_of_its_own_is_changed_in_place() -> None:
    copies = {"item": COPY.clone()}
    incoming = with_whole_tables(Incoming({}, {}, common_changes={"item": CHANGE}), copies, SLOTS, "NL")
    update = RowUpdate(torch.tensor([0]), torch.tensor([[5.0]]), torch.tensor([1]))
    after = copies_after(incoming, {"item": update}, copies, SLOTS, "NL")
    assert after["item"] is copies["item"]
    assert after["item"].flatten().tolist() == [5.0, 2.0, 3.0]
