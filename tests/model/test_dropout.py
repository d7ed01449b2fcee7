"""Dropout from sixteen bits a value."""

from __future__ import annotations

import pytest
import torch

from pfmsmtrec_flwr.model.dropout import Dropout, dropout, relu_dropout


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_the_share_is_dropped_and_the_rest_scaled_up(share: float) -> None:
    torch.manual_seed(0)
    dropped = dropout(torch.full((400, 251), 3.0), share, training=True)
    kept = dropped != 0
    # Six standard deviations of a share among 100 400 draws.
    assert float(kept.double().mean()) == pytest.approx(1 - share, abs=6 * (share * (1 - share) / 100_400) ** 0.5)
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 3 / (1 - share)), rtol=2e-4, atol=0)


def test_neighbours_of_one_draw_are_independent() -> None:
    torch.manual_seed(1)
    kept = (dropout(torch.ones(50_000, 4), 0.5, training=True) != 0).double()
    correlation = torch.corrcoef(kept.T) - torch.eye(4, dtype=torch.float64)
    assert float(correlation.abs().max()) < 6 / 50_000**0.5


@pytest.mark.parametrize(("share", "training"), [(0.0, True), (0.5, False), (1e-6, True)])
def test_nothing_to_drop_is_the_input_itself(share: float, training: bool) -> None:
    x = torch.ones(3, 5)
    assert dropout(x, share, training) is x


def test_a_share_of_nearly_one_stays_finite() -> None:
    torch.manual_seed(2)
    assert torch.isfinite(dropout(torch.ones(1000), 0.9999999, training=True)).all()


@pytest.mark.parametrize("shape", [(0, 3), (1,), (2, 3), (5, 1, 3)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5, training=True).shape == shape


def test_the_gradient_passes_where_the_value_does() -> None:
    x = torch.ones(100, requires_grad=True)
    torch.manual_seed(3)
    dropped = dropout(x, 0.5, training=True)
    dropped.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert torch.equal(x.grad, dropped.detach())


def test_the_layer_follows_its_mode() -> None:
    layer, x = Dropout(0.5), torch.ones(64)
    torch.manual_seed(4)
    assert (layer.train()(x) == 0).any()
    assert layer.eval()(x) is x


@pytest.mark.parametrize(("share", "training"), [(0.5, True), (0.0, True), (0.5, False)])
def test_relu_and_dropout_in_one_have_the_bits_of_both(share: float, training: bool) -> None:
    x, weights = torch.randn(41, 7), torch.randn(41, 7)
    outcomes = []
    for one in (False, True):
        torch.manual_seed(5)
        leaf = x.clone().requires_grad_()
        own = leaf * 1.0  # overwritten
        dropped = relu_dropout(own, share, training) if one else dropout(own.relu(), share, training)
        (gradient,) = torch.autograd.grad((dropped * weights).sum(), leaf)
        outcomes.append((dropped.detach(), gradient))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert torch.equal(outcomes[0][1], outcomes[1][1])
