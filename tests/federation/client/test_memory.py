from __future__ import annotations

import pytest
import torch

from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy


def full() -> ClientMemory:
    moments = {"gates.weight": {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}
    head = ClientMemory(optimizer=moments)
    own = ClientMemory(model={"gates.weight": torch.zeros(2)}, figures={"share": 1 / 3}).with_scope("head", head)
    average, tables = {"gates.weight": torch.full((2,), 0.5)}, {"table.weight": TableCopy.of(torch.full((1, 2), 0.25))}
    return ClientMemory(model={"gates.weight": torch.ones(2)}, average=average, tables=tables).with_scope("own", own)


def test_every_scope_has_a_name_of_its_own_on_disk() -> None:
    assert full().to_tensors().keys() == {
        "model/gates.weight",
        "average/gates.weight",
        "own/model/gates.weight",
        "own/figures/share",
        "own/head/optimizer/gates.weight/step",
        "own/head/optimizer/gates.weight/exp_avg",
    }


def test_what_is_written_is_read_again() -> None:
    again = ClientMemory.from_tensors(full().to_tensors(), full().tables)
    own = again.scope("own")
    assert again.model["gates.weight"].tolist() == [1, 1]
    assert again.average["gates.weight"].tolist() == [0.5, 0.5]
    assert again.tables["table.weight"].table().tolist() == [[0.25, 0.25]]
    assert own.model["gates.weight"].tolist() == [0, 0]
    assert own.figures == {"share": 1 / 3}
    assert own.scope("head").optimizer["gates.weight"]["step"].item() == 3
    assert again.to_tensors().keys() == full().to_tensors().keys()


@pytest.mark.parametrize(
    ("memory", "empty"),
    [
        (ClientMemory(), True),
        (ClientMemory().with_scope("own", ClientMemory()), True),
        (ClientMemory(figures={"share": 0.0}), False),
        (ClientMemory(tables={"table.weight": TableCopy.of(torch.zeros(1, 2))}), False),
        (ClientMemory().with_scope("own", ClientMemory(figures={"share": 0.0})), False),
    ],
)
def test_a_memory_is_empty_if_all_of_its_scopes_are(memory: ClientMemory, empty: bool) -> None:
    assert memory.is_empty == empty
    assert ClientMemory.from_tensors(memory.to_tensors(), memory.tables).is_empty == empty


def test_an_unknown_scope_is_empty() -> None:
    assert full().scope("stranger").is_empty


def test_a_scope_is_replaced_by_a_later_one_of_its_name() -> None:
    replaced = full().with_scope("own", ClientMemory(figures={"share": 0.5}))
    assert replaced.scope("own").to_tensors().keys() == {"figures/share"}
    assert full().scope("own").figures == {"share": 1 / 3}
