"""Shares of the coordinated update, and how they are learned."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.personalized import descend_share, learn_share, personalize


def test_each_scenario_and_expert_has_its_own_share() -> None:
    end = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])  # (K=2, E=2, P=2)
    direction = torch.tensor([[1.0, -1.0], [2.0, 0.0]])
    share = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    expected = torch.tensor([[[1.0, 2.0], [4.0, 4.0]], [[6.0, 5.0], [7.5, 8.0]]])
    assert torch.equal(personalize(end, direction, share), expected)


def test_a_direction_of_each_scenarios_own() -> None:
    end = torch.zeros(2, 1, 2)
    direction = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    expected = torch.tensor([[[0.5, 1.0]], [[3.0, 4.0]]])
    assert torch.equal(personalize(end, direction, torch.tensor([[0.5], [1.0]])), expected)


def test_a_share_of_zero_keeps_every_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    end = torch.randn(3, 4, 50, generator=generator) * 1e-3
    direction = torch.randn(4, 50, generator=generator) * 1e3
    result = personalize(end, direction, torch.zeros(3, 4, dtype=torch.float64))
    assert torch.equal(result.view(torch.int32), end.view(torch.int32))
    assert result.dtype == torch.float32


def test_the_share_moves_by_the_cosine() -> None:
    update = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[-3.0, 0.0], [1.0, 1.0]]])
    given_before = torch.tensor([[5.0, 0.0], [1.0, 0.0]])
    moved = learn_share(torch.full((2, 2), 0.5), update, given_before, 0.1)
    expected = torch.tensor([[0.6, 0.5], [0.4, 0.5 + 0.1 * 0.5**0.5]])
    torch.testing.assert_close(moved, expected)


def test_what_each_was_given_may_differ() -> None:
    update = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
    given_before = torch.tensor([[[2.0, 0.0]], [[-2.0, 0.0]]])
    moved = learn_share(torch.full((2, 1), 0.5), update, given_before, 0.2)
    torch.testing.assert_close(moved, torch.tensor([[0.7], [0.3]]))


def test_the_share_stays_in_its_range() -> None:
    update = torch.tensor([[[1.0]], [[-1.0]]])
    moved = learn_share(torch.tensor([[0.95], [0.05]]), update, torch.ones(1, 1), 0.1)
    assert torch.equal(moved, torch.tensor([[1.0], [0.0]]))


@pytest.mark.parametrize("zero", ["update", "given"])
def test_without_a_movement_the_share_stays(zero: str) -> None:
    share = torch.tensor([[0.3]])
    update, given_before = torch.ones(1, 1, 3), torch.ones(1, 3)
    (update if zero == "update" else given_before).zero_()
    assert torch.equal(learn_share(share, update, given_before, 0.5), share)


@given(st.floats(1e-15, 1e15), st.floats(1e-15, 1e15))
def test_the_scale_of_the_parameters_does_not_matter(first: float, second: float) -> None:
    update = torch.tensor([[[3.0, 4.0]]], dtype=torch.float64)
    before = torch.tensor([[4.0, 3.0]], dtype=torch.float64)
    moved = learn_share(torch.full((1, 1), 0.5, dtype=torch.float64), update * first, before * second, 0.1)
    assert float(moved) == pytest.approx(0.5 + 0.1 * 24 / 25)


def test_the_descent_is_that_of_pytorch_through_the_clip() -> None:
    """The gradient of FedHCA²'s code: backwards from the new parameters, with the negative next update."""
    generator = torch.Generator().manual_seed(0)
    start = torch.tensor([[0.1], [0.9], [0.98]])
    shares = [torch.nn.Parameter(share.clone()) for share in start]
    optimizer = torch.optim.SGD(shares, lr=0.02, momentum=0.9, weight_decay=0.01)
    found, velocity = start, torch.zeros_like(start)
    before = torch.randn(3, 1, 8, generator=generator)
    for _ in range(6):
        update = torch.randn(3, 1, 8, generator=generator) + before  # moves on in the direction received
        optimizer.zero_grad()
        for share, received, change in zip(shares, before, update, strict=True):
            torch.autograd.backward(share.clamp(0, 1).unsqueeze(1) * received, -change)
        optimizer.step()
        found, velocity = descend_share(found, velocity, update, before, lr=0.02, momentum=0.9, decay=0.01)
        torch.testing.assert_close(found, torch.stack([share.detach() for share in shares]))
        before = torch.randn(3, 1, 8, generator=generator)
    assert float(found.max()) > 1


def test_a_share_that_has_weighted_nothing_does_not_decay() -> None:
    share, velocity = torch.tensor([[0.3], [0.3]]), torch.zeros(2, 1)
    received = torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]]])
    moved, speed = descend_share(share, velocity, torch.ones(2, 1, 2), received, lr=0.1, momentum=0.5, decay=1.0)
    torch.testing.assert_close(moved, torch.tensor([[0.3], [0.37]]))
    torch.testing.assert_close(speed, torch.tensor([[0.0], [-0.7]]))
