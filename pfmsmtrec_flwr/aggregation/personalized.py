"""Personalised aggregation: the share of the coordinated update that each scenario receives, and how it is learned.

Examples
--------
The second scenario receives half of the coordinated update, the first one nothing. Then the update of the first
follows the direction that its share weights, so its share grows; the second moves back, so its share shrinks.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.personalized import learn_share, personalize
>>> end = torch.zeros(2, 1, 3)  # (K, E, P)
>>> direction = torch.tensor([[1.0, 0.0, 2.0]])  # (E, P)
>>> share = torch.tensor([[0.0], [0.5]])  # (K, E)
>>> personalize(end, direction, share).tolist()
[[[0.0, 0.0, 0.0]], [[0.5, 0.0, 1.0]]]
>>> update = torch.stack([direction, -direction])  # (K, E, P)
>>> learn_share(share, update, direction, lr=0.25).tolist()
[[0.25], [0.25]]
"""

from __future__ import annotations

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.cosines import paired_cosines


def personalize(end: Tensor, direction: Tensor, share: Tensor) -> Tensor:
    """Add each scenario's own share of the coordinated update to its parameters.

    ``theta = theta(end) + share * U``. This equals ``theta(start) + update + share * U`` but for rounding: a share of
    zero leaves the result of a scenario's own training unchanged to the last bit.

    Parameters
    ----------
    end
        Parameters after local training (K, E, P).
    direction
        U, common to all scenarios (E, P), or one per scenario (K, E, P).
    share
        α in [0, 1] of each scenario and expert (K, E).

    References
    ----------
    Hyper aggregation weights of FedHCA² (Lu et al., CVPR 2024, section 3.4), here for each scenario and expert.
    """
    return end + share.unsqueeze(-1).to(end.dtype) * direction


def learn_share(share: Tensor, update: Tensor, received: Tensor, lr: float) -> Tensor:
    """Move the shares along their hyper-gradient.

    A scenario that moves on in the direction that it received is better off with more of it, one that moves back with
    less: ``share <- clip(share + lr * cos(update, received), 0, 1)``. The derivative of the loss by the share is
    ``-<update, received>`` up to the learning rate (FedHCA², section 3.4). The cosine makes the step independent of
    the scale of the parameters (our construction).

    Parameters
    ----------
    share
        α of each scenario and expert (K, E).
    update
        Updates of the scenarios in this round (K, E, P).
    received
        Direction that the shares weighted in the round before, (E, P) or (K, E, P). Where it or the update is zero,
        the share stays.
    lr
        Step of the hyper-gradient.
    """
    cosine = paired_cosines(update, received)
    return (share + lr * cosine.to(share.dtype)).clamp(0.0, 1.0)


def descend_share(
    share: Tensor, velocity: Tensor, update: Tensor, received: Tensor, *, lr: float, momentum: float, decay: float
) -> tuple[Tensor, Tensor]:
    """Take a step of gradient descent with momentum on the shares, which are clipped to [0, 1] where they weigh.

    ``gradient = -<update, received> + decay * share``, with the first term zero where the clip holds the share;
    ``velocity <- momentum * velocity + gradient``, ``share <- share - lr * velocity``. A share that has weighted
    nothing yet stays.

    Parameters
    ----------
    share, velocity
        Share of each scenario and expert, not clipped, and its velocity (K, E).
    update
        Updates of the scenarios in this round (K, E, P).
    received
        Direction that the shares weighted in the round before (K, E, P).
    lr, momentum, decay
        Step, momentum and weight decay.

    Returns
    -------
    tuple
        The new shares and velocities (K, E).

    References
    ----------
    FedHCA² (Lu et al., CVPR 2024, section 3.4); momentum, decay and clip as in the authors' code.
    """
    product = (update.double() * received.double()).sum(dim=-1).to(share.dtype)
    gradient = decay * share - torch.where((share >= 0) & (share <= 1), product, 0.0)
    learned = received.abs().amax(dim=-1) > 0
    velocity = torch.where(learned, momentum * velocity + gradient, velocity)
    return torch.where(learned, share - lr * velocity, share), velocity
