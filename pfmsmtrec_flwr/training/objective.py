"""The objective of a scenario: the cross-entropy of every task, and the pull to an anchor.

Examples
--------
The parameter is 2 away from its anchor. A step of 1 halves the distance; no step is so long that it passes the anchor.

>>> import torch
>>> from pfmsmtrec_flwr.training.objective import pull_to_anchors, task_losses
>>> losses = task_losses(torch.zeros(3, 2), torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))  # (T,)
>>> [round(loss, 3) for loss in losses.tolist()]  # log 2 each
[0.693, 0.693]
>>> parameter = torch.nn.Parameter(torch.tensor([3.0]))
>>> pull_to_anchors([(parameter, torch.tensor([1.0]))], step=1.0)
>>> parameter.tolist()
[2.0]
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional


def task_losses(logits: Tensor, labels: Tensor, labelled: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy of each task (T,) for ``logits`` and ``labels`` (B, T).

    CTCVR is a task of its own over all impressions, not the product of two predictions.

    Parameters
    ----------
    logits, labels
        Outputs of the model, and labels 0 and 1.
    labelled
        Whether a row has a label of a task (B, T). The mean of a task is over these rows, and 0 where there is none;
        None: all rows have all labels.
    """
    entropies = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    if labelled is None:
        return entropies.mean(dim=0)
    return torch.where(labelled, entropies, 0.0).sum(dim=0) / labelled.sum(dim=0).clamp(min=1)


@torch.no_grad()
def pull_to_anchors(pairs: Iterable[tuple[Tensor, Tensor]], step: float) -> None:
    """Take the proximal step of a pull ``weight / 2 * ||theta - anchor||^2``, apart from the optimiser.

    ``theta <- (theta + step * anchor) / (1 + step)`` with ``step = learning rate * weight`` is the minimum of
    ``weight / 2 * ||x - anchor||^2 + ||x - theta||^2 / (2 * learning rate)`` over x. For short steps it is the gradient
    step of the pull, and it stays between parameter and anchor for long ones.

    The pull is no part of the optimiser's gradient, because Adam and Adagrad divide a gradient by the size of those
    before: a pull inside stops the parameters whose loss has small gradients, at any weight. Weight decay leaves Adam
    for the same reason.

    Parameters
    ----------
    pairs
        Pairs of a parameter and its anchor, which have the same shape.
    step
        Learning rate times the weight of the pull, not negative.

    References
    ----------
    Parikh and Boyd, "Proximal Algorithms", 2014, section 4.2. Loshchilov and Hutter, "Decoupled Weight Decay
    Regularization", ICLR 2019.
    """
    for parameter, anchor in pairs:
        parameter.lerp_(anchor, step / (1.0 + step))
