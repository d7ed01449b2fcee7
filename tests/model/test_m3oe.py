"""Mixtures of experts by scenario and task: against one row at a time, and which rows train what."""

from __future__ import annotations

import math

import pytest
import torch
from architectures import SCENARIOS, make_model, make_rows, make_settings, make_spec, scatter_parameters
from torch import Tensor

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import ScenarioModel, build_model
from pfmsmtrec_flwr.model.m3oe import ExpertBalance

SHARED = 5
EXPERTS = SHARED + SCENARIOS + 2
"""First the shared ones, then those of the scenarios, then those of the tasks."""


def m3oe() -> ScenarioModel:
    """Move parameters and statistics away from their initial values."""
    model = scatter_parameters(make_model("m3oe"))
    model.train()
    with torch.no_grad():
        model(*make_rows(model.spec, seed=3))
    return model


def normalised(state: dict[str, Tensor], name: str, x: Tensor, own: slice = slice(None)) -> Tensor:
    mean, var, gamma, beta = (state[f"{name}.{key}"][own] for key in ("running_mean", "running_var", "weight", "bias"))
    return ((x - mean) / (var + 1e-5).sqrt() * gamma + beta).clamp(min=0)


def hidden(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return normalised(state, f"{name}.1", state[f"{name}.0.weight"] @ x + state[f"{name}.0.bias"])


def plain_experts(state: dict[str, Tensor], z: Tensor) -> list[Tensor]:
    outputs = []
    for number in range(EXPERTS):
        x = z
        for layer, width in enumerate((6, 4)):
            weight, bias = (state[f"experts.layers.{layer}.{kind}"][number] for kind in ("weight", "bias"))
            x = normalised(
                state, f"experts.norms.{layer}", x @ weight + bias, slice(number * width, (number + 1) * width)
            )
        outputs.append(x)
    return outputs


def balanced(state: dict[str, Tensor], name: str, outputs: list[Tensor], own: int) -> Tensor:
    weight, share = (state[f"{name}.{key}"].sigmoid() for key in ("weight", "own"))
    mixed = share * outputs[own]
    for other, output in enumerate(outputs):
        if other != own:
            mixed = mixed + (1 - share) / (len(outputs) - 1) * output
    return torch.as_tensor(weight * mixed)


def plain_m3oe(model: ScenarioModel, categorical: Tensor, numeric: Tensor) -> Tensor:
    """M3oE row by row, from the state's tensors alone, with the running statistics."""
    state = model.state_dict()
    logits = []
    for x, scenario in zip(model.embed(categorical, numeric), (categorical[:, -1] - 1).tolist(), strict=True):
        star = "representation.star"
        weight = state[f"{star}.weight"] * (1 + state[f"{star}.weight_scenario"][scenario])
        adapted = x @ weight + state[f"{star}.bias"] + state[f"{star}.bias_scenario"][scenario]
        z = hidden(state, "representation.fusion", adapted) + hidden(state, "representation.skip", x)
        outputs = plain_experts(state, z)
        shared, domains, tasks = outputs[:SHARED], outputs[SHARED:-2], outputs[-2:]
        for index, task in enumerate(model.spec.tasks):
            gate = (state[f"gates.{scenario}.of_task.{task}.weight"] @ z).softmax(dim=0)
            mixed = sum(share * output for share, output in zip(gate, shared, strict=True))
            mixed = mixed + balanced(state, "scenario_balance", domains, scenario)
            mixed = mixed + balanced(state, "task_balance", tasks, index)
            tower = f"towers.{scenario}.of_task.{task}"
            logits.append(state[f"{tower}.4.weight"] @ hidden(state, tower, mixed) + state[f"{tower}.4.bias"])
    return torch.stack(logits).view(len(numeric), -1)


@torch.no_grad()
def test_it_equals_one_row_at_a_time() -> None:
    model = m3oe().eval()
    rows = make_rows(model.spec)
    torch.testing.assert_close(model(*rows), plain_m3oe(model, *rows), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_order_of_the_rows_does_not_matter() -> None:
    model = m3oe().eval()
    categorical, numeric = make_rows(model.spec)
    turned = categorical.flip(0), numeric.flip(0)
    torch.testing.assert_close(model(categorical, numeric), model(*turned).flip(0), rtol=1e-4, atol=1e-5)
    one, other = model.expert_shares(categorical, numeric), model.expert_shares(*turned)
    assert one is not None
    assert other is not None
    torch.testing.assert_close(one, other.flip(0))


@torch.no_grad()
def test_the_balance_by_hand() -> None:
    balance = ExpertBalance(3, 0.5)
    assert balance().tolist() == [[0.25, 0.125, 0.125], [0.125, 0.25, 0.125], [0.125, 0.125, 0.25]]
    balance.weight.fill_(math.log(3))  # 0.75
    balance.own.fill_(math.inf)  # no other
    torch.testing.assert_close(balance(), 0.75 * torch.eye(3))
    torch.testing.assert_close(ExpertBalance(1, 0.5)(), torch.tensor([[0.25]]))


def test_the_balance_is_learned() -> None:
    model = m3oe()
    model(*make_rows(model.spec)).square().sum().backward()
    for name in ("scenario_balance", "task_balance"):
        for own in ("weight", "own"):
            gradient = model.get_parameter(f"{name}.{own}").grad
            assert gradient is not None
            assert gradient != 0


def test_rows_train_the_gates_and_towers_of_their_scenario_alone() -> None:
    model = m3oe()
    categorical, numeric = make_rows(model.spec, 4)
    categorical[:, -1] = torch.tensor([1, 1, 3, 1])  # one row of the third: its towers take their statistics
    logits = model(categorical, numeric)
    logits.square().sum().backward()
    assert torch.isfinite(logits).all()
    for part in ("gates.{}.of_task.click.weight", "towers.{}.of_task.click.4.weight"):
        gradients = [model.get_parameter(part.format(scenario)).grad for scenario in range(SCENARIOS)]
        assert [gradient is not None and bool(gradient.any()) for gradient in gradients] == [True, False, True]


def test_every_scenarios_rows_train_the_experts_of_all() -> None:
    model = m3oe()
    categorical, numeric = make_rows(model.spec)
    categorical[:, -1] = 2
    model(categorical, numeric)[:, 0].square().sum().backward()
    gradient = model.get_parameter("experts.layers.0.weight").grad
    assert gradient is not None
    assert gradient.flatten(1).any(dim=1).all()


def test_gates_do_not_train_the_representation() -> None:
    model = m3oe().eval()
    with torch.no_grad():  # experts whose outputs are constant: the gates alone depend on the representation
        model.get_parameter("experts.layers.0.weight").zero_()
    model(*make_rows(model.spec)).square().sum().backward()
    gate = model.get_parameter("gates.0.of_task.click.weight").grad
    assert gate is not None
    assert gate.any()
    for name in ("star.weight", "fusion.0.weight", "skip.0.weight"):
        gradient = model.get_parameter(f"representation.{name}").grad
        assert gradient is not None
        assert not gradient.any()


def test_dropout_leaves_the_scenarios_embedding() -> None:
    model = build_model(make_spec(2, SCENARIOS), make_settings("m3oe", embedding_dropout=0.9), seed=0).train()
    inputs: list[Tensor] = []
    model.get_submodule("representation.skip").register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    categorical, numeric = make_rows(model.spec)
    model(categorical, numeric)
    plain = model.eval().embed(categorical, numeric)[categorical[:, -1].argsort(stable=True)]
    assert torch.equal(inputs[0][:, 9:], plain[:, 9:])  # of the scenario, then the numbers
    assert not torch.equal(inputs[0][:, :9], plain[:, :9])


@pytest.mark.parametrize("tasks", [1, 2])
def test_it_has_so_many_parameters(tasks: int) -> None:
    model = build_model(make_spec(tasks, SCENARIOS), make_settings("m3oe"), seed=0)
    width, experts = 4 * 3 + 2, SHARED + SCENARIOS + tasks
    tables = (7 + 5 + 4 + SCENARIOS + 1) * 3
    representation = (1 + SCENARIOS) * (width * 6 + 6) + (6 * 6 + 6 + 2 * 6) + (width * 6 + 6 + 2 * 6)
    networks = experts * (6 * 6 + 6 + 2 * 6 + 6 * 4 + 4 + 2 * 4)
    heads = SCENARIOS * tasks * (6 * SHARED + 4 * 5 + 5 + 2 * 5 + 5 + 1)
    assert sum(parameter.numel() for parameter in model.parameters()) == tables + representation + networks + heads + 4


def test_rows_of_a_single_scenario_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.architecture=m3oe"):
        build_model(make_spec(), make_settings("m3oe"), seed=0)
