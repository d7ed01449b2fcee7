"""The gradient of learned columns alone is that of all columns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
from pfmsmtrec_flwr.model.products import affine

ROWS, INPUTS, OUTPUTS = 40, 21, 12


def operands(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (ROWS, INPUTS), (INPUTS, OUTPUTS), (OUTPUTS,)
    x, weight, bias = (torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)
    return x, weight, bias


def gradients(fixed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    x, weight, bias = operands()
    outputs = affine(x, weight, bias, fixed)
    return outputs.detach(), torch.autograd.grad(outputs.square().sum(), (x, weight, bias))


@pytest.mark.parametrize("fixed", [1, 5])
def test_learned_columns_have_the_same_bits(fixed: int) -> None:
    outputs, (of_x, *others) = gradients(fixed)
    expected, (of_all, *expected_others) = gradients(0)
    assert torch.equal(outputs, expected)
    assert torch.equal(of_x[:, :-fixed], of_all[:, :-fixed])
    assert not of_x[:, -fixed:].any()
    assert all(torch.equal(one, other) for one, other in zip(others, expected_others, strict=True))


def test_mixed_precision_gives_gradients_of_the_operands_own_type() -> None:
    x, weight, bias = operands()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = affine(x, weight, bias, 5)
        expected = affine(x, weight, bias)
    assert outputs.dtype == torch.bfloat16
    found = torch.autograd.grad(outputs.float().sum(), (x, weight, bias))
    wanted = torch.autograd.grad(expected.float().sum(), (x, weight, bias))
    assert [each.dtype for each in found] == [torch.float32] * 3
    torch.testing.assert_close(found[0][:, :-5], wanted[0][:, :-5])
    assert torch.equal(found[1], wanted[1])
    assert torch.equal(found[2], wanted[2])


@pytest.mark.parametrize("architecture", ["mmoe", "shared-bottom", "aitm", "esmm"])
def test_numeric_columns_have_a_gradient_if_it_is_asked_for(architecture: str) -> None:
    spec = ModelSpec((FieldSpec("item", rows=7, federated=True),), numeric=3, tasks=("ctr", "ctcvr"))
    model = build_model(spec, ModelSettings(architecture=architecture), seed=0)
    categorical, numeric = torch.ones(6, 1, dtype=torch.int32), torch.randn(6, 3, requires_grad=True)
    model(categorical, numeric).square().sum().backward()
    assert numeric.grad is not None
    assert numeric.grad.any()
