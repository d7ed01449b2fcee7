"""Dropout that draws a quarter of the usual random numbers, which are a large share of a training step on a CPU.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.model.dropout import dropout, relu_dropout
>>> x = torch.ones(1000)
>>> dropped = dropout(x, share=0.5, training=True)
>>> dropped.unique().tolist()
[0.0, 2.0]
>>> dropout(x, share=0.5, training=False) is x
True
>>> relu_dropout(torch.tensor([-1.0, 1.0]), share=0.5, training=False).tolist()
[0.0, 1.0]
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

_LEVELS = 2**16
"""Number of values of 16 random bits."""


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Set a share of the values to zero and scale the others up, in training only.

    One 64-bit draw decides on four values, with 16 bits for each; the share is exact to within 1 / 65536.

    Parameters
    ----------
    x
        Floating-point values of any shape.
    share
        Share of the values that are dropped, in [0, 1).
    training
        Whether the model trains; otherwise ``x`` is returned as it is.
    """
    threshold = _threshold(share)
    return x * _factors(x, threshold) if training and threshold else x


def relu_dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Return the dropout of the positive part of ``x``, which is overwritten; see `dropout`.

    The gradient needs the result alone: it passes where that is positive. No mask is kept for it.

    Parameters
    ----------
    x
        Floating-point values of any shape, not needed by the gradient of what they come from.
    share
        Share of the values that are dropped, in [0, 1).
    training
        Whether the model trains; otherwise nothing is dropped.
    """
    threshold = _threshold(share)
    if not training or threshold == 0:
        return functional.relu(x, inplace=True)
    dropped: Tensor = _ReluDropout.apply(x, threshold)  # type: ignore[no-untyped-call]
    return dropped


def _threshold(share: float) -> int:
    return min(round(share * _LEVELS), _LEVELS - 1)  # a share near 1 keeps some values


def _scale(threshold: int) -> float:
    return _LEVELS / (_LEVELS - threshold)


def _factors(x: Tensor, threshold: int) -> Tensor:
    """Return the factor of each value: 0, or the scale of those that are kept."""
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    kept = torch.ge(bits, threshold - _LEVELS // 2, out=torch.empty_like(x, memory_format=torch.contiguous_format))
    return kept.mul_(_scale(threshold))


class _ReluDropout(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        ctx.mark_dirty(x)
        ctx.scale = _scale(threshold)
        dropped = x.relu_().mul_(_factors(x, threshold))
        ctx.save_for_backward(dropped)
        return dropped

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (dropped,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, dropped, 0).mul_(ctx.scale), None


class Dropout(nn.Module):
    """Layer that applies `dropout`."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of ``x`` in training."""
        return dropout(x, self.share, self.training)
