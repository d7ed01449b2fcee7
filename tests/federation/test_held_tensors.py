from __future__ import annotations

import torch

from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
from pfmsmtrec_flwr.aggregation.table_checksum import table_checksum
from pfmsmtrec_flwr.federation.held_tensors import HeldTensors, checksum_of_tensor, form_of_tensor, rows_of_table

ZEROS = torch.zeros(3, 2)


def held(name: str = "A") -> tuple[HeldTensors, dict[str, PersonalTable]]:
    tables = {"table": PersonalTable.of((each, ZEROS) for each in "AB")}
    return HeldTensors(name, {"first": torch.ones(1), "table": None, "last": torch.ones(2)}, tables), tables


def test_they_are_a_mapping_in_the_models_order() -> None:
    own, _ = held()
    assert list(own) == ["first", "table", "last"]
    assert (len(own), "table" in own, "other" in own) == (3, True, False)
    assert torch.equal(own["table"], ZEROS)
    assert own["table"].data_ptr() != own["table"].data_ptr()
    joined, other = {"common": ZEROS, "first": ZEROS} | own, own | {"first": ZEROS}
    assert list(joined) == ["common", "first", "table", "last"]
    assert torch.equal(joined["first"], torch.ones(1))
    assert other["first"] is ZEROS
    assert list(own.without({"first", "last"})) == ["table"]
    del own["first"]
    assert list(own) == ["table", "last"]


def test_what_is_set_is_that_scenarios_alone() -> None:
    own, tables = held()
    other = HeldTensors("B", {"table": None}, tables)
    table = torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    own |= {"table": table, "last": torch.zeros(2)}
    assert torch.equal(own["table"], table)
    assert torch.equal(own["last"], torch.zeros(2))
    assert torch.equal(other["table"], ZEROS)
    assert tables["table"].kept_rows == 4
    own["table"] = torch.ones(1, 2)  # another length: it is held by itself from now on
    assert torch.equal(own["table"], torch.ones(1, 2))
    assert own.table("table") is None
    assert tables["table"].kept_rows == 4


def test_what_a_scenario_was_sent_stays_what_it_was() -> None:
    own, _ = held()
    sent = own.with_common({"common": torch.zeros(1)})
    own["table"] = torch.ones(3, 2)
    own["first"] = torch.zeros(1)
    assert list(sent) == ["common", "first", "table", "last"]
    assert torch.equal(sent["table"], ZEROS)
    assert torch.equal(sent["first"], torch.ones(1))


def test_rows_and_form_of_a_table() -> None:
    own, _ = held()
    own["table"] = torch.arange(6.0).view(3, 2)
    for tensors in (own, dict(own)):
        assert rows_of_table(tensors, "table", torch.tensor([0, 2])).tolist() == [[0.0, 1.0], [4.0, 5.0]]
        assert (form_of_tensor(tensors, "table").shape, form_of_tensor(tensors, "table").dtype) == (
            ZEROS.shape,
            ZEROS.dtype,
        )
        assert torch.equal(checksum_of_tensor(tensors, "table"), table_checksum(own["table"]))
    assert rows_of_table(own, "first", torch.tensor([0])).tolist() == [1.0]
    assert form_of_tensor(own, "table").is_meta
    assert own.state_dict()["table"] is None
