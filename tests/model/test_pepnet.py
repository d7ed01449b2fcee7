"""Scaled embeddings and hidden units: the plain computation, and the paths of gradients."""

from __future__ import annotations

import pytest
import torch
from architectures import DIM, FIELDS, SCENARIOS, make_model, make_rows, make_settings, make_spec, scatter_parameters
from torch import Tensor

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec, ScenarioModel, build_model
from pfmsmtrec_flwr.model.gates import GateUnit


def build(fields: tuple[FieldSpec, ...] = FIELDS) -> ScenarioModel:
    return scatter_parameters(build_model(make_spec(2, SCENARIOS, fields), make_settings("pepnet"), seed=0))


def gate(state: dict[str, Tensor], name: str, prior: Tensor) -> Tensor:
    crossed = (prior @ state[f"{name}.crossing.weight"].T + state[f"{name}.crossing.bias"]).clamp(min=0)
    return 2 / (1 + (-(crossed @ state[f"{name}.scoring.weight"].T + state[f"{name}.scoring.bias"])).exp())


def plain_pepnet(model: ScenarioModel, x: Tensor, domain: Tensor, personal: Tensor) -> Tensor:
    """The equations task by task, with the running statistics."""
    state = model.state_dict()
    scaled = x * gate(state, "domain_gate", torch.cat([domain, x], dim=1))
    known = torch.cat([personal, scaled], dim=1)
    logits = []
    for index, task in enumerate(model.spec.tasks):
        hidden = scaled
        for layer, width in enumerate((6, 4, 5)):
            weight, bias = (state[f"networks.layers.{layer}.{kind}"][index] for kind in ("weight", "bias"))
            own = slice(index * width, (index + 1) * width)
            mean, var, gamma, beta = (
                state[f"networks.norms.{layer}.{key}"][own] for key in ("running_mean", "running_var", "weight", "bias")
            )
            hidden = ((hidden @ weight + bias - mean) / (var + 1e-5).sqrt() * gamma + beta).clamp(min=0)
            hidden = hidden * gate(state, f"personal_gates.{layer}", known)[:, own]
        tower = f"towers.of_task.{task}.0"
        logits.append(hidden @ state[f"{tower}.weight"].T + state[f"{tower}.bias"])
    return torch.cat(logits, dim=1)


@torch.no_grad()
def test_it_equals_the_plain_computation() -> None:
    model = build()
    rows = make_rows(model.spec)
    model.train()(*make_rows(model.spec, seed=4))
    x = model.eval().embed(*rows)  # item, hour, user, scenario, numbers
    user, scenario = x[:, 2 * DIM : 3 * DIM], x[:, 3 * DIM : 4 * DIM]
    torch.testing.assert_close(model(*rows), plain_pepnet(model, x, scenario, user), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_without_local_fields_the_whole_input_is_the_prior() -> None:
    model = build(FIELDS[1:]).eval()
    rows = make_rows(model.spec)
    x = model.embed(*rows)  # item, hour, scenario, numbers
    torch.testing.assert_close(model(*rows), plain_pepnet(model, x, x[:, 2 * DIM : 3 * DIM], x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_gates_that_say_nothing_leave_all_as_it_is() -> None:
    unit = GateUnit(3, 4)
    unit.scoring.weight.zero_()
    unit.scoring.bias.zero_()
    assert torch.equal(unit(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))), torch.ones(5, 4))
    unit.scoring.bias.copy_(torch.tensor([-100.0, 100.0, 0.0, 0.0]))
    torch.testing.assert_close(unit(torch.zeros(1, 3))[0, :2], torch.tensor([0.0, 2.0]))


def muted_networks(model: ScenarioModel) -> None:
    """Let the gates alone depend on the embedded input: the networks' first layer becomes a constant."""
    with torch.no_grad():
        model.get_parameter("networks.layers.0.weight").zero_()
        model.get_parameter("networks.norms.0.bias").fill_(1.0)


def test_gates_learn_from_the_prior_and_not_through_the_rest_of_the_input() -> None:
    model = build().eval()
    muted_networks(model)
    model(*make_rows(model.spec)).square().sum().backward()
    federated, local = (model.get_parameter(f"{kind}_embeddings.weight").grad for kind in ("federated", "local"))
    assert local is not None
    assert federated is not None
    assert local[:7].any()  # of the user, the personal prior
    assert not local[7:].any()  # of the scenario: its gate scales the input, which has no effect here
    assert not federated.any()


def test_the_domain_gates_prior_carries_gradients_to_the_scenario_alone() -> None:
    model = build().eval()
    priors: list[Tensor] = []
    model.get_submodule("domain_gate").register_forward_pre_hook(lambda _, inputs: priors.append(inputs[0]))
    model(*make_rows(model.spec))
    tables = [model.get_parameter(f"{kind}_embeddings.weight") for kind in ("local", "federated")]
    domain, others = (
        torch.autograd.grad(part.sum(), tables, retain_graph=True, allow_unused=True)
        for part in (priors[0][:, :DIM], priors[0][:, DIM:])
    )
    assert domain[0][-SCENARIOS:].all()
    assert not domain[0][:-SCENARIOS].any()
    assert all(gradient is None or not gradient.any() for gradient in others)


def test_the_domain_gate_learns_of_the_scenario() -> None:
    model = build().eval()
    model(*make_rows(model.spec)).square().sum().backward()
    gradient = model.get_parameter("local_embeddings.weight").grad
    assert gradient is not None
    assert gradient[-SCENARIOS:].any(dim=1).all()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_each_task_is_scaled_by_its_own_gates() -> None:
    model = build().eval()
    model(*make_rows(model.spec))[:, 0].square().sum().backward()
    gradient = model.get_parameter("personal_gates.0.scoring.weight").grad
    assert gradient is not None
    assert gradient[:6].any()
    assert not gradient[6:].any()


def test_dropout_leaves_the_scenarios_embedding() -> None:
    model = build_model(make_spec(2, SCENARIOS), make_settings("pepnet", embedding_dropout=0.9), seed=0).train()
    priors: list[Tensor] = []
    model.get_submodule("domain_gate").register_forward_pre_hook(lambda _, inputs: priors.append(inputs[0]))
    rows = make_rows(model.spec)
    model(*rows)
    plain = model.eval().embed(*rows)  # item, hour, user, scenario, numbers
    scenario = slice(3 * DIM, 4 * DIM)
    assert torch.equal(priors[0][:, :DIM], plain[:, scenario])
    assert torch.equal(priors[0][:, DIM:][:, scenario], plain[:, scenario])
    assert not torch.equal(priors[0][:, DIM : 4 * DIM], plain[:, : 3 * DIM])


def test_rows_of_a_single_scenario_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.architecture=pepnet"):
        build_model(make_spec(), make_settings("pepnet"), seed=0)


def test_it_has_the_layers_of_experts_and_towers() -> None:
    model = make_model("pepnet", tower_layers=())
    assert model.get_parameter("towers.of_task.click.0.weight").shape == (1, 4)
