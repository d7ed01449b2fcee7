from __future__ import annotations

import pytest
import torch
from federated import Tiny

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.installing import install
from pfmsmtrec_flwr.federation.protocol import Incoming
from pfmsmtrec_flwr.model import ScenarioModel, build_model
from pfmsmtrec_flwr.training.description import model_spec

CLICK, LIKE = "gates.of_task.click.weight", "gates.of_task.like.weight"


@pytest.fixture
def model(tiny: Tiny) -> ScenarioModel:
    return build_model(model_spec(ScenarioStore.open(tiny.root / "tiny" / "US")), tiny.config().model, 1)


def filled(model: ScenarioModel, value: float, *names: str) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(model.state_dict()[name], value) for name in names}


def test_a_received_value_precedes_a_kept_one_and_that_a_first_one(model: ScenarioModel) -> None:
    bias = "towers.of_task.click.4.bias"
    untouched = model.state_dict()["local_embeddings.weight"].clone()
    first = filled(model, 1.0, CLICK, LIKE, bias)
    incoming = Incoming(filled(model, 3.0, CLICK), {"US": {}, "FR": filled(model, 4.0, LIKE)})
    assert install(model, first, filled(model, 2.0, CLICK, LIKE), incoming, "US") == {CLICK}
    state = model.state_dict()
    assert [float(state[name].mean()) for name in (CLICK, LIKE, bias)] == [3, 2, 1]
    assert torch.equal(state["local_embeddings.weight"], untouched)


def test_a_scenarios_own_value_precedes_a_common_one(model: ScenarioModel) -> None:
    incoming = Incoming(filled(model, 3.0, CLICK), {"US": filled(model, 4.0, CLICK)})
    assert install(model, {}, {}, incoming, "US") == {CLICK}
    assert float(model.state_dict()[CLICK].mean()) == 4


def test_common_values_of_tasks_that_the_scenario_lacks_are_left_out(model: ScenarioModel) -> None:
    incoming = Incoming({"gates.of_task.buy.weight": torch.zeros(2)} | filled(model, 3.0, CLICK), {})
    assert install(model, {}, {}, incoming, "US") == {CLICK}


def test_an_unknown_value_for_the_scenario_is_refused(model: ScenarioModel) -> None:
    with pytest.raises(UserError, match=r"^scenario US: .*missing or unknown"):
        install(model, {}, {}, Incoming({}, {"US": {"stranger": torch.zeros(1)}}), "US")
