"""Batched experts against a loop over them."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pfmsmtrec_flwr.model.experts import Experts
from pfmsmtrec_flwr.model.template import Composition, TemplateLinear

TASKS, EXPERTS = 2, 3


def build(composition: Composition, dropout: float = 0.0) -> Experts:
    experts = Experts(TASKS, EXPERTS, 4, [6, 5], dropout, composition).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.normal_(generator=generator)
        for norm in experts.norms:
            norm.get_buffer("running_mean").normal_(generator=generator)
            norm.get_buffer("running_var").uniform_(0.5, 2.0, generator=generator)
    return experts


def in_a_loop(experts: Experts, x: Tensor) -> Tensor:
    """Every copy of every expert on its own, in plain loops."""
    outputs = []
    copies = EXPERTS if experts.layers[0].composition == "none" else TASKS * EXPERTS
    for copy in range(copies):
        hidden = x
        for layer, norm in zip(experts.layers, experts.norms, strict=True):
            assert isinstance(layer, TemplateLinear)
            assert isinstance(norm, nn.BatchNorm1d)
            weight, bias = layer.compose()
            units = slice(copy * layer.outputs, (copy + 1) * layer.outputs)
            hidden = functional.batch_norm(
                hidden @ weight[copy] + bias[copy],
                norm.get_buffer("running_mean")[units].clone(),
                norm.get_buffer("running_var")[units].clone(),
                norm.weight[units],
                norm.bias[units],
                training=experts.training,
            ).clamp(min=0)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1).view(len(x), copies // EXPERTS, EXPERTS, -1)


@pytest.mark.parametrize("composition", get_args(Composition))
@pytest.mark.parametrize("training", [True, False])
def test_together_equals_one_at_a_time(composition: Composition, training: bool) -> None:
    experts = build(composition).train(training)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = in_a_loop(experts, x)
    assert expected.shape == (7, 1 if composition == "none" else TASKS, EXPERTS, 5)
    torch.testing.assert_close(experts(x), expected)


def test_gradients_equal_those_of_the_loop() -> None:
    experts = build("hadamard")
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    parameters = list(experts.parameters())
    together = torch.autograd.grad(experts(x).square().sum(), parameters)
    looped = torch.autograd.grad(in_a_loop(experts, x).square().sum(), parameters)
    for first, second in zip(together, looped, strict=True):
        torch.testing.assert_close(first, second)


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
