"""Probabilities as products along a path."""

from __future__ import annotations

import pytest
import torch
from architectures import make_model, make_rows, scatter_parameters
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.model.esmm import product_logits

logits = st.floats(-12, 12, allow_nan=False)
extremes = st.sampled_from([-1e4, -50.0, 0.0, 50.0, 1e4])


def test_probabilities_by_hand() -> None:
    steps = torch.logit(torch.tensor([[0.5, 0.8, 0.25]], dtype=torch.float64))
    torch.testing.assert_close(product_logits(steps).sigmoid(), torch.tensor([[0.5, 0.4, 0.1]], dtype=torch.float64))


@given(st.lists(st.tuples(logits, logits, logits), min_size=1, max_size=4))
def test_a_probability_is_the_product_of_the_steps(rows: list[tuple[float, ...]]) -> None:
    steps = torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(product_logits(steps).sigmoid(), steps.sigmoid().cumprod(dim=1), rtol=1e-9, atol=0)


@given(st.tuples(extremes, extremes, extremes))
def test_extremes_and_their_gradients_are_finite(row: tuple[float, ...]) -> None:
    steps = torch.tensor([row], requires_grad=True)
    products = product_logits(steps)
    assert torch.isfinite(products).all()
    for product in products[0]:
        (gradient,) = torch.autograd.grad(product, steps, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert (gradient >= 0).all()


def test_the_gradient_equals_the_numeric_one() -> None:
    steps = torch.tensor([[0.3, -1.2, 2.0], [-3.0, 4.0, 0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(product_logits, steps)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_multiplies_its_towers(training: bool) -> None:
    model = scatter_parameters(make_model("esmm", tasks=3)).train(training)
    towers: list[Tensor] = []
    model.get_submodule("towers").register_forward_hook(lambda _, __, output: towers.append(output))
    predicted = model(*make_rows(model.spec))
    torch.testing.assert_close(predicted[:, 0], towers[0][:, 0], rtol=0, atol=0)
    torch.testing.assert_close(predicted.sigmoid(), towers[0].sigmoid().cumprod(dim=1))
    assert (predicted.diff(dim=1) < 0).all()


def test_each_task_has_a_bottom_and_all_share_the_embeddings() -> None:
    model = scatter_parameters(make_model("esmm"))
    model(*make_rows(model.spec))[:, 0].sum().backward()
    bottoms = model.get_parameter("bottoms.layers.0.weight").grad
    assert bottoms is not None
    assert bottoms[0].any()
    assert not bottoms[1].any()
    assert model.get_parameter("federated_embeddings.weight").shape == (9, 3)
