"""Dropout that draws a quarter of the usual random numbers, which are a large share of a training step on a CPU.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.model.dropout import dropout
>>> x = torch.ones(1000)
>>> dropped = dropout(x, share=0.5, training=True)
>>> dropped.unique().tolist()
[0.0, 2.0]
>>> dropout(x, share=0.5, training=False) is x
True
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
    threshold = min(round(share * _LEVELS), _LEVELS - 1)  # a share near 1 keeps some values
    if not training or threshold == 0:
        return x
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= threshold - _LEVELS // 2
    return x * kept.to(x.dtype).mul_(_LEVELS / (_LEVELS - threshold))


class Dropout(nn.Module):
    """Layer that applies `dropout`."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of ``x`` in training."""
        return dropout(x, self.share, self.training)
