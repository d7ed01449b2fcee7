"""Adaptive local aggregation: each element of a received parameter counts by a weight that the scenario learns.

Examples
--------
The loss falls where the first element moves back to its local value, and where the second moves on to the received one.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.elements import aggregate_elements, learn_weights
>>> local, received = torch.tensor([0.0, 0.0]), torch.tensor([2.0, 2.0])
>>> weights = learn_weights(torch.tensor([0.75, 0.75]), torch.tensor([0.25, -0.25]), local, received, rate=1.0)
>>> weights.tolist()
[0.25, 1.0]
>>> aggregate_elements(local, received, weights).tolist()
[0.5, 2.0]
"""

from __future__ import annotations

import torch
from torch import Tensor


def aggregate_elements(local: Tensor, received: Tensor, weights: Tensor) -> Tensor:
    """Return ``local + (received - local) * weights``, element by element.

    Weights of 0 and 1 give the local and the received value to the last bit. All arguments have the same shape.

    References
    ----------
    FedALA (Zhang et al., AAAI 2023, section "Adaptive Local Aggregation").
    """
    return torch.lerp(local, received, weights)


def learn_weights(weights: Tensor, gradient: Tensor, local: Tensor, received: Tensor, rate: float) -> Tensor:
    """Return the weights after a step of gradient descent, kept in [0, 1].

    Parameters
    ----------
    weights
        Weights of the elements.
    gradient
        Gradient of the loss by the aggregated parameter; by the chain rule that by the weights is
        ``gradient * (received - local)``.
    local, received
        The two values that are aggregated. All tensors have the same shape.
    rate
        Learning rate η of the weights.

    References
    ----------
    FedALA (Zhang et al., AAAI 2023, section "Adaptive Local Aggregation", algorithm 1).
    """
    return (weights - rate * gradient * (received - local)).clamp(0.0, 1.0)
