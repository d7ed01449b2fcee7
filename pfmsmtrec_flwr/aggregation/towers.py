"""Cross-attention between the scenarios' updates of one layer of a task's tower.

Examples
--------
The first two scenarios agree, the third with nobody.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.towers import attend_by_similarity
>>> updates = torch.tensor([[4.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])  # (K, d)
>>> agreement = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
>>> attended, weights = attend_by_similarity(updates, agreement, temperature=0.5)
>>> [[round(weight, 2) for weight in row] for row in weights.tolist()]
[[0.47, 0.47, 0.06], [0.47, 0.47, 0.06], [0.11, 0.11, 0.79]]
>>> [round(value, 2) for value in attended[:, 0].tolist()]
[2.75, 2.75, -0.15]
"""

from __future__ import annotations

import math

from torch import Tensor


def attend_by_similarity(updates: Tensor, similarity: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Mix the scenarios' updates of one layer, weighted by a similarity of the scenarios.

    ``attended_s = sum_j a_sj update_j`` with ``a_sj = softmax_j(similarity_sj / temperature)``. The cosine of the
    updates would be a similarity. But the cosine of two noisy updates with one aim is far below 1, the cosine of an
    update with itself, so that each scenario would attend to itself. The agreement of the scenarios is corrected for
    that noise (our construction).

    Parameters
    ----------
    updates
        Updates of one tower layer, flattened, (K, d).
    similarity
        Similarity of each pair of scenarios (K, K), such as
        `pfmsmtrec_flwr.aggregation.agreement.Agreement.among` returns.
    temperature
        τ > 0. Near zero each scenario keeps its own update; the larger τ, the nearer to the plain mean.

    Returns
    -------
    attended
        Attended update of each scenario (K, d).
    weights
        Weight of each scenario's update in each scenario's mixture (K, K) float64; each row sums to one.

    References
    ----------
    The paper's "additional round of personalized federated aggregation on the task tower networks"; cross-attention
    of decoders as in FedHCA² (Lu et al., CVPR 2024, section 3.3).
    """
    weights = (similarity.double() / temperature).softmax(dim=1)
    return weights.to(updates.dtype) @ updates, weights


def attend_by_products(updates: Tensor) -> tuple[Tensor, Tensor]:
    """Mix the scenarios' updates of one layer, weighted by their inner products.

    ``attended_s = sum_j softmax_j(<update_s, update_j> / sqrt(d)) update_j``.

    Parameters
    ----------
    updates
        Updates of one layer, flattened, (K, d).

    Returns
    -------
    attended
        Attended update of each scenario (K, d).
    weights
        Weight of each scenario's update in each scenario's mixture (K, K) float64; each row sums to one.

    References
    ----------
    FedHCA² (Lu et al., CVPR 2024, section 3.3), between the decoders of clients.
    """
    return attend_by_similarity(updates, updates.double() @ updates.double().T, math.sqrt(updates.shape[1]))
