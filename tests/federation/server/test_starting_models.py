from __future__ import annotations

import torch

from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
from pfmsmtrec_flwr.federation.held_tensors import HeldTensors
from pfmsmtrec_flwr.federation.server.parameters import Parameters
from pfmsmtrec_flwr.federation.server.starting_models import put_into


def test_the_consensus_of_several_is_weighted_by_their_rows() -> None:
    common, own = torch.zeros(1), {name: {"s": torch.zeros(1)} for name in ("A", "B", "C")}
    parameters = Parameters({"c": common}, own)
    sent = {name: {"c": torch.tensor([value]), "s": torch.tensor([value])} for name, value in (("A", 1.0), ("B", 5.0))}
    put_into(parameters, sent, {"A": 300, "B": 100, "C": 999})
    assert parameters.common["c"].item() == 2.0
    assert {name: tensors["s"].item() for name, tensors in parameters.personal.items()} == {"A": 1, "B": 5, "C": 2}


def test_a_part_that_no_earlier_model_has_stays_as_it_was_drawn() -> None:
    parameters = Parameters({}, {"A": {"s": torch.zeros(1)}, "B": {"s": torch.zeros(1), "more": torch.ones(1)}})
    put_into(parameters, {"A": {"s": torch.tensor([3.0])}}, {"A": 0, "B": 0})
    assert {name: value.item() for name, value in parameters.personal["B"].items()} == {"s": 3.0, "more": 1.0}


def test_what_earlier_tables_have_in_common_is_held_once() -> None:
    tables = {"t": PersonalTable.of((name, torch.zeros(4, 1)) for name in "ABC")}
    own = {name: HeldTensors(name, {"t": None}, tables) for name in "ABC"}
    sent = {name: {"t": torch.tensor([[8.0], [9.0], [value], [7.0]])} for name, value in (("A", 1.0), ("B", 5.0))}
    put_into(Parameters({}, own, tables=tables), sent, {"A": 300, "B": 100})
    assert {name: each["t"][2].item() for name, each in own.items()} == {"A": 1, "B": 5, "C": 2}
    assert tables["t"].kept_rows == 4 + 2
