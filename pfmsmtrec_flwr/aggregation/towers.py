"""Cross-attention between the scenarios' updates of one layer of a task's tower."""

from __future__ import annotations

import math

from torch import Tensor


def attend(updates: Tensor) -> Tensor:
    """Mix the scenarios' updates of one layer by how much they agree.

    ``mixed_s = sum_j softmax_j(<update_s, update_j> / sqrt(d)) update_j``.

    Parameters
    ----------
    updates
        Updates of one tower layer, flattened, (K, d).

    Returns
    -------
    Tensor
        (K, d)

    References
    ----------
    The paper's "additional round of personalized federated aggregation on the task tower networks"; the attention is
    that of FedHCA² (Lu et al., CVPR 2024, section 3.3) between the decoders of clients.
    """
    scores = updates.double() @ updates.double().T / math.sqrt(updates.shape[1])
    return scores.softmax(dim=1).to(updates.dtype) @ updates
