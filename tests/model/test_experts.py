"""Batched experts against a loop over them."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pfmsmtrec_flwr.model.experts import Experts
from pfmsmtrec_flwr.model.template import Composition, TaskLayers, TemplateLinear

TASKS, EXPERTS = 2, 3


def build(composition: Composition, task_layers: TaskLayers = "last") -> Experts:
    experts = Experts(TASKS, EXPERTS, 4, [6, 7, 5], 0.0, composition, task_layers).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.normal_(generator=generator)
        for norm in experts.norms:
            norm.get_buffer("running_mean").normal_(generator=generator)
            norm.get_buffer("running_var").uniform_(0.5, 2.0, generator=generator)
    return experts


def in_a_loop(experts: Experts, x: Tensor) -> Tensor:
    """Every expert of every task on its own, in plain loops."""
    tasks = [_one_task(experts, x, task) for task in range(TASKS)]
    return torch.stack(tasks, dim=1)


def _one_task(experts: Experts, x: Tensor, task: int) -> Tensor:
    outputs = []
    for expert in range(EXPERTS):
        hidden = x
        for layer, norm in zip(experts.layers, experts.norms, strict=True):
            assert isinstance(layer, TemplateLinear)
            assert isinstance(norm, nn.BatchNorm1d)
            weight, bias = layer.compose()
            own = min(task, len(weight) - 1)  # 0 where all tasks have the same
            units = slice((own * EXPERTS + expert) * layer.outputs, (own * EXPERTS + expert + 1) * layer.outputs)
            hidden = functional.batch_norm(
                hidden @ weight[own, expert] + bias[own, expert],
                norm.get_buffer("running_mean")[units].clone(),
                norm.get_buffer("running_var")[units].clone(),
                norm.weight[units],
                norm.bias[units],
                training=experts.training,
            ).clamp(min=0)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("task_layers", get_args(TaskLayers))
@pytest.mark.parametrize("composition", get_args(Composition))
@pytest.mark.parametrize("training", [True, False])
def test_together_equals_one_at_a_time(composition: Composition, task_layers: TaskLayers, training: bool) -> None:
    experts = build(composition, task_layers).train(training)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs = experts(x)
    assert outputs.shape == (7, 1 if composition == "none" else TASKS, EXPERTS, 5)
    torch.testing.assert_close(outputs.expand(-1, TASKS, -1, -1), in_a_loop(experts, x))


@pytest.mark.parametrize("task_layers", get_args(TaskLayers))
def test_gradients_equal_those_of_the_loop(task_layers: TaskLayers) -> None:
    experts = build("hadamard", task_layers)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    parameters = list(experts.parameters())
    together = torch.autograd.grad(experts(x).square().sum(), parameters)
    looped = torch.autograd.grad(in_a_loop(experts, x).square().sum(), parameters)
    for first, second in zip(together, looped, strict=True):
        torch.testing.assert_close(first, second)


def test_only_the_last_layer_is_computed_for_each_task() -> None:
    assert [layer.copies for layer in build("additive").layers] == [EXPERTS, EXPERTS, TASKS * EXPERTS]
    assert [layer.copies for layer in build("additive", "all").layers] == [TASKS * EXPERTS] * 3


def test_dropout_works_in_training_only() -> None:
    experts = Experts(TASKS, EXPERTS, 4, [6], 0.5, "none").double()
    experts.layers[0].initialise(lambda _: torch.Generator().manual_seed(4))  # type: ignore[operator]
    x = torch.randn(400, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.manual_seed(0)
    dropped = experts.train()(x)
    experts.dropout = 0.0
    kept = experts(x)
    alive = kept > 0
    survived = dropped[alive] != 0
    assert 0.45 < float(survived.double().mean()) < 0.55
    torch.testing.assert_close(dropped[alive][survived], 2 * kept[alive][survived])
    experts.dropout = 0.5
    assert torch.equal(experts.eval()(x), experts.eval()(x))
