"""Losses, and the pull to anchors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pfmsmtrec_flwr.training.objective import pull_to_anchors, task_losses


def test_losses_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, -math.log(3)]])
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    expected = torch.tensor([math.log(2), (-math.log(0.75) - math.log(0.25)) / 2])
    torch.testing.assert_close(task_losses(logits, labels), expected)


def test_large_logits_stay_finite() -> None:
    losses = task_losses(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 0.0]]))
    assert losses.tolist() == [1e4, 0.0]


@given(st.floats(0.0, 1e6), st.floats(-10, 10), st.floats(-10, 10))
def test_the_pull_is_the_proximal_step(step: float, start: float, anchor: float) -> None:
    parameter = nn.Parameter(torch.tensor([start, anchor], dtype=torch.float64))
    pull_to_anchors([(parameter, torch.full((2,), anchor, dtype=torch.float64))], step)
    moved, still = parameter.tolist()
    assert moved == pytest.approx((start + step * anchor) / (1 + step), abs=1e-9)
    assert min(start, anchor) - 1e-9 <= moved <= max(start, anchor) + 1e-9  # no step passes the anchor
    assert still == anchor
    # The derivative of step / 2 * (x - anchor)^2 + (x - start)^2 / 2 is zero there.
    assert step * (moved - anchor) + (moved - start) == pytest.approx(0.0, abs=1e-9 * (1 + step))


def test_short_steps_are_those_of_the_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (nn.Parameter(torch.randn(3, 4, generator=generator, dtype=torch.float64)) for _ in range(2))
    anchors = [torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    penalty = 0.5 * ((first - anchors[0]).square().sum() + (second - anchors[1]).square().sum())
    gradients = torch.autograd.grad(penalty, (first, second))
    expected = [p.detach() - 1e-6 * gradient for p, gradient in zip((first, second), gradients, strict=True)]
    pull_to_anchors(zip((first, second), anchors, strict=True), 1e-6)
    for parameter, value in zip((first, second), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=0, atol=1e-10)


def test_neither_gradient_nor_anchor_is_touched() -> None:
    parameter, anchor = nn.Parameter(torch.tensor([1.0, 3.0])), torch.tensor([2.0, 1.0])
    pull_to_anchors([(parameter, anchor)], 1.0)
    assert parameter.grad is None
    assert parameter.tolist() == [1.5, 2.0]
    assert anchor.tolist() == [2.0, 1.0]


def test_rows_without_a_label_are_not_in_the_mean() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [5.0, -math.log(3)], [0.0, 7.0]], requires_grad=True)
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    labelled = torch.tensor([[True, False], [False, True], [True, False]])
    losses = task_losses(logits, labels, labelled)
    torch.testing.assert_close(losses, torch.tensor([math.log(2), -math.log(0.25)]))
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.0], [0.0, -0.75], [0.25, 0.0]]))


def test_a_task_without_a_labelled_row_has_no_loss() -> None:
    logits = torch.ones(2, 2, requires_grad=True)
    losses = task_losses(logits, torch.ones(2, 2), torch.tensor([[True, False], [True, False]]))
    assert losses.tolist() == [pytest.approx(math.log(1 + math.exp(-1))), 0.0]
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[:, 1].tolist() == [0.0, 0.0]
