"""The objective of a scenario: the cross-entropy of every task, and the pull of the personalization regularizer.

Examples
--------
The parameter is 2 away from its anchor, so the pull of weight 0.5 adds a gradient of 1.

>>> import torch
>>> from pfmsmtrec_flwr.training.objective import add_anchor_gradient, task_losses
>>> losses = task_losses(torch.zeros(3, 2), torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))  # (T,)
>>> [round(loss, 3) for loss in losses.tolist()]  # log 2 each
[0.693, 0.693]
>>> parameter = torch.nn.Parameter(torch.tensor([3.0]))
>>> add_anchor_gradient([(parameter, torch.tensor([1.0]))], weight=0.5)
>>> parameter.grad.tolist()
[1.0]
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional


def task_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of each task (T,) for ``logits`` and ``labels`` (B, T).

    CTCVR is a task of its own over all impressions, not the product of two predictions.
    """
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=0)


@torch.no_grad()
def add_anchor_gradient(pairs: Iterable[tuple[Tensor, Tensor]], weight: float) -> None:
    """Add the gradient of a pull ``weight / 2 * ||theta - anchor||^2`` to the parameters' gradients.

    With the scenarios' consensus as anchor, the pull is the paper's personalization regularizer; with the global model,
    it is the proximal term of FedProx (Li et al., MLSys 2020, section 3.2). Its gradient is known in closed form, so it
    needs no automatic differentiation.

    Parameters
    ----------
    pairs
        Pairs of a parameter and its anchor, which have the same shape.
    weight
        Weight of the pull: λ of the personalization regularizer, μ of FedProx.
    """
    for parameter, anchor in pairs:
        pull = parameter - anchor
        if parameter.grad is None:
            parameter.grad = pull.mul_(weight)
        else:
            parameter.grad.add_(pull, alpha=weight)
