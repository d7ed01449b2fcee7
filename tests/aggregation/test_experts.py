"""Experts' tensors as vectors and back."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.aggregation.experts import ExpertLayout


def test_tensors_lie_in_the_order_of_their_names() -> None:
    tensors = {"b": torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), "a": torch.tensor([[5.0], [6.0]])}
    layout = ExpertLayout.of(tensors)
    assert layout.shapes == (("a", torch.Size([2, 1])), ("b", torch.Size([2, 1, 2])))
    assert layout.flatten(tensors).tolist() == [[5.0, 1.0, 2.0], [6.0, 3.0, 4.0]]


@given(
    st.integers(1, 4),
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_round_trip(experts: int, shapes: list[list[int]]) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {f"t{index}": torch.randn(experts, *shape, generator=generator) for index, shape in enumerate(shapes)}
    layout = ExpertLayout.of(tensors)
    vectors = layout.flatten(tensors)
    assert vectors.shape == (experts, sum(tensor[0].numel() for tensor in tensors.values()))
    back = layout.empty(vectors.dtype)
    for expert in range(experts):
        some = slice(expert, expert + 1)
        assert torch.equal(layout.flatten(tensors, some), vectors[some])
        layout.fill(back, vectors[some], some)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) and back[name].is_contiguous() for name in tensors)


def test_what_the_layout_does_not_know_is_left_out() -> None:
    layout = ExpertLayout.of({"a": torch.zeros(2, 3)})
    assert layout.flatten({"a": torch.ones(2, 3), "z": torch.zeros(2, 9)}).shape == (2, 3)


def test_tensors_of_any_shape_are_one_vector() -> None:
    tensors = {"b": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "a": torch.tensor([5.0])}
    layout = ExpertLayout.of(tensors, experts=1)
    assert layout.flatten(tensors).tolist() == [[5.0, 1.0, 2.0, 3.0, 4.0]]
    back = layout.empty(torch.float32)
    layout.fill(back, torch.arange(5.0).unsqueeze(0))
    assert (back["a"].tolist(), back["b"].tolist()) == ([0.0], [[1.0, 2.0], [3.0, 4.0]])
