"""Aggregation of a local and a received tensor, element by element."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.elements import aggregate_elements, learn_weights


def drawn(count: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_weights_of_none_and_all_keep_every_bit() -> None:
    local, received = drawn(2, seed=0)
    assert torch.equal(aggregate_elements(local, received, torch.zeros_like(local)), local)
    assert torch.equal(aggregate_elements(local, received, torch.ones_like(local)), received)


def test_each_element_has_its_own_weight() -> None:
    local, received = torch.tensor([0.0, 10.0, -4.0]), torch.tensor([8.0, 20.0, 4.0])
    weights = torch.tensor([0.25, 0.5, 0.75])
    assert aggregate_elements(local, received, weights).tolist() == [2.0, 15.0, 2.0]


@given(st.integers(0, 500))
def test_a_step_goes_down_the_gradient_by_the_weights(seed: int) -> None:
    local, received, target = drawn(3, seed)
    weights = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)
    aggregated = aggregate_elements(local, received, weights)
    loss = (aggregated - target).square().sum()
    by_weights, by_parameter = torch.autograd.grad(loss, (weights, aggregated))
    stepped = learn_weights(weights.detach(), by_parameter, local, received, rate=0.3)
    torch.testing.assert_close(stepped, (weights.detach() - 0.3 * by_weights).clamp(0, 1))


def test_weights_stay_between_none_and_all() -> None:
    local, received = torch.zeros(2), torch.ones(2)
    assert learn_weights(torch.tensor([0.9, 0.1]), torch.tensor([-9.0, 9.0]), local, received, 1.0).tolist() == [1, 0]
