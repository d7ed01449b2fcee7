"""Cross-attention between the scenarios' updates of one layer of a task's tower.

Examples
--------
The first two scenarios have the same update, which is orthogonal to the third.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.towers import attend
>>> mixed = attend(torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0]]))  # (K, d)
>>> [[round(value, 2) for value in row] for row in mixed.tolist()]
[[4.0, 0.0], [4.0, 0.0], [0.0, 4.0]]
"""

from __future__ import annotations

import math

from torch import Tensor


def attend(updates: Tensor) -> Tensor:
    """Mix the scenarios' updates of one layer, weighted by their agreement.

    ``mixed_s = sum_j softmax_j(<update_s, update_j> / sqrt(d)) update_j``.

    Parameters
    ----------
    updates
        Updates of one tower layer, flattened, (K, d).

    Returns
    -------
    Tensor
        Mixed update of each scenario (K, d).

    References
    ----------
    The paper's "additional round of personalized federated aggregation on the task tower networks". The attention is
    the one that FedHCA² (Lu et al., CVPR 2024, section 3.3) uses between the decoders of clients.
    """
    scores = updates.double() @ updates.double().T / math.sqrt(updates.shape[1])
    return scores.softmax(dim=1).to(updates.dtype) @ updates
