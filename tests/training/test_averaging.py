from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.training.averaging import exponential_mean


def means(values: list[float], memory: float) -> list[float]:
    """Return the mean after each of the states of one parameter."""
    mean: dict[str, Tensor] = {}
    found = []
    for rounds, value in enumerate(values, start=1):
        mean = exponential_mean(mean, {"w": torch.tensor([value], dtype=torch.float64)}, memory, rounds)
        found.append(float(mean["w"]))
    return found


def test_it_is_the_plain_mean_first_and_exponential_then() -> None:
    # shares of the old value: 0, 1/2, then 0.6 rather than 2/3 and 3/4
    assert means([1.0, 3.0, 7.0, 0.0], 0.6) == pytest.approx([1.0, 2.0, 0.6 * 2 + 0.4 * 7, 0.6 * 4.0])
    assert means([1.0, 3.0, 8.0, 4.0], 0.9) == pytest.approx([1.0, 2.0, 4.0, 4.0])


def test_without_memory_it_is_the_last_state() -> None:
    assert means([1.0, 3.0, 7.0], 0.0) == [1.0, 3.0, 7.0]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.floats(0, 0.99))
def test_it_lies_among_the_states(values: list[float], memory: float) -> None:
    for count, found in enumerate(means(values, memory), start=1):
        assert min(values[:count]) - 1e-9 <= found <= max(values[:count]) + 1e-9


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_a_state_that_does_not_change_is_its_own_mean_to_the_last_bit(rounds: int) -> None:
    state = {"w": torch.randn(50, generator=torch.Generator().manual_seed(0))}
    assert torch.equal(exponential_mean(state, state, 0.7, rounds)["w"], state["w"])


def test_counters_are_the_last_states() -> None:
    first = {"norm.num_batches_tracked": torch.tensor(3), "norm.running_mean": torch.tensor([1.0])}
    second = {"norm.num_batches_tracked": torch.tensor(8), "norm.running_mean": torch.tensor([2.0])}
    mean = exponential_mean(first, second, 0.9, 2)
    assert (int(mean["norm.num_batches_tracked"]), float(mean["norm.running_mean"])) == (8, 1.5)
    assert mean["norm.num_batches_tracked"].dtype == torch.int64


def test_a_mean_that_starts_late_starts_at_its_first_state() -> None:
    assert float(exponential_mean({}, {"w": torch.tensor([5.0])}, 0.9, 4)["w"]) == 5.0


def test_what_is_given_stays_as_it_is() -> None:
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    first = exponential_mean({}, {"w": parameter, "count": torch.tensor(1)}, 0.5, 1)
    with torch.no_grad():
        parameter.fill_(4.0)
    assert float(first["w"]) == 2.0
    exponential_mean(first, {"w": parameter, "count": torch.tensor(2)}, 0.5, 2)
    assert (float(first["w"]), int(first["count"]), float(parameter.detach())) == (2.0, 1, 4.0)
    assert not first["w"].requires_grad
