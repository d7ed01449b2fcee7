"""Personalised aggregation: how much of the coordinated update each scenario receives, and how it learns that."""

from __future__ import annotations

import torch
from torch import Tensor


def personalize(end: Tensor, direction: Tensor, share: Tensor) -> Tensor:
    """Give each scenario its own share of the coordinated update.

    ``theta = theta(end) + share * U``, which is ``theta(start) + update + share * U`` without its rounding, so that a
    share of zero leaves a scenario's own training untouched to the last bit.

    Parameters
    ----------
    end
        Parameters after local training (K, E, P).
    direction
        U: (E, P), the same for all scenarios, or (K, E, P), each scenario's own.
    share
        α in [0, 1], (K, E).

    References
    ----------
    FedHCA² (Lu et al., CVPR 2024, section 3.4), its hyper aggregation weights, here per scenario and expert.
    """
    return end + share.unsqueeze(-1).to(end.dtype) * direction


def learn_share(share: Tensor, update: Tensor, given: Tensor, lr: float) -> Tensor:
    """Move the shares along their hyper-gradient.

    A scenario that moves on in the direction that it was given wanted more of it; one that moves back wanted less:
    ``share <- clip(share + lr * cos(update, given), 0, 1)``. The loss's derivative by the share is
    ``-<update, given>`` up to the learning rate (FedHCA², section 3.4); the cosine makes the step independent of
    the scale of the parameters (ours).

    Parameters
    ----------
    share
        (K, E).
    update
        The scenarios' updates of this round (K, E, P).
    given
        What the shares weighted in the round before, (E, P) or (K, E, P). Where it, or the update, is zero
        the share stays.
    lr
        Step.
    """
    product = (update.double() * given.double()).sum(dim=-1)
    lengths = update.double().norm(dim=-1) * given.double().norm(dim=-1)
    cosine = torch.where(lengths > 0, product / lengths.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    return (share + lr * cosine.to(share.dtype)).clamp(0.0, 1.0)
