"""Losses and the regularizer's gradient."""

from __future__ import annotations

import math

import torch
from torch import nn

from pfmsmtrec_flwr.training.objective import add_anchor_gradient, task_losses


def test_losses_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, -math.log(3)]])
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    expected = torch.tensor([math.log(2), (-math.log(0.75) - math.log(0.25)) / 2])
    torch.testing.assert_close(task_losses(logits, labels), expected)


def test_large_logits_stay_finite() -> None:
    losses = task_losses(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 0.0]]))
    assert losses.tolist() == [1e4, 0.0]


def test_the_gradient_is_that_of_the_penalty() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (nn.Parameter(torch.randn(3, 4, generator=generator, dtype=torch.float64)) for _ in range(2))
    consensus = [torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    loss = first.square().sum() + (first * second).sum()
    penalty = 0.7 / 2 * ((first - consensus[0]).square().sum() + (second - consensus[1]).square().sum())
    expected = torch.autograd.grad(loss + penalty, (first, second), retain_graph=True)
    loss.backward()  # type: ignore[no-untyped-call]
    add_anchor_gradient(zip((first, second), consensus, strict=True), 0.7)
    for parameter, gradient in zip((first, second), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_a_parameter_without_gradient_gets_the_penaltys() -> None:
    parameter, consensus = nn.Parameter(torch.tensor([1.0, 3.0])), torch.tensor([2.0, 1.0])
    add_anchor_gradient([(parameter, consensus)], 0.5)
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [-0.5, 1.0]
    assert parameter.tolist() == [1.0, 3.0]
    assert consensus.tolist() == [2.0, 1.0]
