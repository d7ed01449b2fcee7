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
def add_consensus_gradient(pairs: Iterable[tuple[Tensor, Tensor]], weight: float) -> None:
    """Add the gradient of the regularizer ``weight / 2 * ||theta - consensus||^2`` to the parameters' gradients.

    It is the paper's personalization regularizer, the proximal term of FedProx (Li et al., MLSys 2020, section 3.2)
    with the scenarios' consensus in the place of the global model. Its gradient is known in closed form, so it takes no
    part in the automatic differentiation.

    Parameters
    ----------
    pairs
        Each federated parameter of experts and towers with its consensus, of the same shape.
    weight
        λ.
    """
    for parameter, consensus in pairs:
        pull = parameter - consensus
        if parameter.grad is None:
            parameter.grad = pull.mul_(weight)
        else:
            parameter.grad.add_(pull, alpha=weight)
