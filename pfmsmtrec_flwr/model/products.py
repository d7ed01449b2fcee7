"""The product of an input with the weights of a layer, without the part of the gradient that nobody needs.

Examples
--------
The last column of the input is fixed: no gradient is computed for it.

>>> import torch
>>> from pfmsmtrec_flwr.model.products import affine
>>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
>>> outputs = affine(x, weight=torch.tensor([[3.0], [5.0]]), bias=torch.tensor([0.5]), fixed=1)
>>> outputs.tolist()
[[13.5]]
>>> outputs.backward()
>>> x.grad.tolist()
[[3.0, 0.0]]
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional


def affine(x: Tensor, weight: Tensor, bias: Tensor, fixed: int = 0) -> Tensor:
    """Return ``x @ weight + bias``.

    Parameters
    ----------
    x
        Input (B, I).
    weight, bias
        Weights (I, O) and biases (O,).
    fixed
        Number of the last columns of ``x`` that are data. Their gradient, which takes as long as that of learned
        columns, is zero.
    """
    if not (fixed and x.requires_grad):
        return torch.addmm(bias, x, weight)
    outputs: Tensor = _PartlyLearned.apply(x, weight, bias, x.shape[1] - fixed)  # type: ignore[no-untyped-call]
    return outputs


class _PartlyLearned(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, learned: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.learned = learned
        return torch.addmm(bias, x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        # In mixed precision the outputs, and so their gradient, have 16 bits.
        x, weight = (saved.to(gradient.dtype) for saved in ctx.saved_tensors)
        of_learned = gradient @ weight[: ctx.learned].T
        of_x = functional.pad(of_learned, (0, x.shape[1] - ctx.learned))
        return of_x, x.T @ gradient, gradient.sum(dim=0), None
