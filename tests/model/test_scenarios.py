"""Rows of several scenarios."""

from __future__ import annotations

import pytest
import torch
from architectures import DIM, FIELDS, SCENARIOS, make_model, make_rows, make_spec

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec
from pfmsmtrec_flwr.model.scenarios import (
    OneScenario,
    SortingModel,
    order_by_scenario,
    personal_columns,
    require_scenarios,
    scenario_columns,
)


def test_rows_in_the_order_of_scenarios_and_back() -> None:
    categorical = torch.tensor([[7, 3], [8, 1], [9, 3], [5, 1]], dtype=torch.int32)
    ordered = order_by_scenario(categorical, 3)
    assert isinstance(ordered.order, torch.Tensor)
    assert ordered.order.tolist() == [1, 3, 0, 2]
    assert ordered.counts == [2, 0, 2]
    assert torch.equal(ordered.restore(categorical[ordered.order]), categorical)


@pytest.mark.parametrize("architecture", ["star", "m3oe"])
def test_rows_of_one_scenario_need_no_sorting(architecture: str) -> None:
    model = make_model(architecture).eval()
    assert isinstance(model, SortingModel)
    categorical, numeric = make_rows(model.spec)
    for number in range(1, SCENARIOS + 1):
        own = categorical[:, -1] == number
        found = OneScenario(model, number)(categorical[own], numeric[own])
        torch.testing.assert_close(found, model(categorical, numeric)[own])


@pytest.mark.parametrize(("numbers", "told"), [([0, 1], "0 to 1"), ([2, 4], "2 to 4")])
def test_a_number_of_no_scenario_is_refused(numbers: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=f"from {told}, expected 1 to 3"):
        order_by_scenario(torch.tensor(numbers, dtype=torch.int32)[:, None], 3)


@pytest.mark.parametrize("federated", [True, False])
def test_where_the_embedded_input_tells_the_scenario(federated: bool) -> None:
    spec = ModelSpec((*FIELDS, FieldSpec("scenario", 4, federated)), 2, ("click",), SCENARIOS)
    model = make_model("pepnet")
    wanted = type(model)(spec, model.settings)
    table = wanted.federated_embeddings if federated else wanted.local_embeddings
    assert table is not None
    with torch.no_grad():
        table.weight[-3:] = torch.tensor([1.0, 2.0, 3.0])[:, None]  # the scenario's field is the table's last
    categorical, numeric = make_rows(spec)
    x = wanted.embed(categorical, numeric)
    assert torch.equal(x[:, scenario_columns(spec, DIM)], categorical[:, -1:].expand(-1, DIM).float())


def test_personal_is_what_is_local_the_scenario_aside() -> None:
    assert personal_columns(make_spec(scenarios=3), DIM) == slice(2 * DIM, 3 * DIM)
    without = personal_columns(make_spec(scenarios=3, fields=FIELDS[1:]), DIM)
    assert without.start == without.stop


@pytest.mark.parametrize("architecture", ["star", "pepnet"])
def test_rows_of_a_single_scenario_are_refused(architecture: str) -> None:
    with pytest.raises(UserError, match=f"model.architecture={architecture} is for pooled rows of several"):
        require_scenarios(make_spec(), architecture)
