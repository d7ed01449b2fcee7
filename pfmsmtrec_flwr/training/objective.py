"""The objective of a scenario: cross-entropy of every task and the pull of the personalization regularizer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional


def task_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of each task, (T,), the mean over the rows of ``logits`` and ``labels`` (B, T).

    CTCVR is a task of its own over all impressions, not the product of two predictions.
    """
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=0)


@torch.no_grad()
def add_anchor_gradient(pairs: Iterable[tuple[Tensor, Tensor]], weight: float) -> None:
    """Add the gradient of a pull ``weight / 2 * ||theta - anchor||^2`` to the parameters' gradients.

    With the scenarios' consensus as anchor it is the paper's personalization regularizer, with the global model the
    proximal term of FedProx (Li et al., MLSys 2020, section 3.2). Its gradient is known in closed form, so it takes no
    part in the automatic differentiation.

    Parameters
    ----------
    pairs
        Each parameter with its anchor, of the same shape.
    weight
        λ, or μ.
    """
    for parameter, anchor in pairs:
        pull = parameter - anchor
        if parameter.grad is None:
            parameter.grad = pull.mul_(weight)
        else:
            parameter.grad.add_(pull, alpha=weight)
