"""Inner products and cosines between the scenarios' updates.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.aggregation.cosines import cosines_of, gram_matrices
>>> updates = torch.tensor([[[2.0, 0.0]], [[0.0, 3.0]], [[-1.0, 0.0]]])  # (K, E, P): three scenarios, one expert
>>> gram = gram_matrices(updates)
>>> gram.tolist()
[[[4.0, 0.0, -2.0], [0.0, 9.0, 0.0], [-2.0, 0.0, 1.0]]]
>>> cosines_of(gram).tolist()
[[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]]
"""

from __future__ import annotations

import torch
from torch import Tensor


def gram_matrices(updates: Tensor) -> Tensor:
    """Return the inner products between the ``updates`` (K, E, P) of each expert, (E, K, K) float64.

    Only one expert's updates are copied at a time.
    """
    experts = updates.shape[1]
    gram = updates.new_empty((experts, updates.shape[0], updates.shape[0]), dtype=torch.float64)
    for expert in range(experts):
        flat = updates[:, expert].double()
        gram[expert] = flat @ flat.T
    return gram


def cosines_of(gram: Tensor) -> Tensor:
    """Return the cosines that belong to inner products (E, K, K); a cosine with an update of zero is 0."""
    lengths = gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    products = lengths[:, :, None] * lengths[:, None, :]
    return torch.where(products > 0, gram / products.clamp(min=torch.finfo(gram.dtype).tiny), torch.zeros_like(gram))


def paired_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each vector (..., P) of ``first`` and its like in ``second``, (...) float64; 0 for zeros."""
    product = (first.double() * second.double()).sum(dim=-1)
    lengths = first.double().norm(dim=-1) * second.double().norm(dim=-1)
    return torch.where(lengths > 0, product / lengths.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
