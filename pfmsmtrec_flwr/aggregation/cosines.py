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

COLUMNS = 6144
"""Parameters whose products are taken at once, so that their copy stays in the cache."""
ROWS = 64
"""Scenarios whose products are taken at once."""
AT_ONCE = 1 << 18
"""Number of elements beyond which cosines of pairs are taken in pieces."""
FEW = 16
"""Number of scenarios below which a copy of all parameters costs less than pieces."""


def gram_matrices(updates: Tensor) -> Tensor:
    """Return the inner products between the ``updates`` (K, E, P) of each expert, (E, K, K) float64.

    Only some columns of one expert are copied at a time.
    """
    scenarios, experts, _ = updates.shape
    gram = updates.new_zeros((experts, scenarios, scenarios), dtype=torch.float64)
    for expert in range(experts):
        _add_inner_products(gram[expert], updates[:, expert])
    return gram


def _add_inner_products(gram: Tensor, vectors: Tensor) -> None:
    """Add the inner products of ``vectors`` (K, P) to ``gram`` (K, K), piece by piece."""
    scenarios, parameters = vectors.shape
    columns = parameters if scenarios < FEW else min(COLUMNS, parameters)
    room = vectors.new_empty((scenarios, columns), dtype=torch.float64)
    for column in range(0, parameters, max(1, columns)):
        piece = vectors[:, column : column + columns]
        double = room[:, : piece.shape[1]].copy_(piece)
        for row in range(0, scenarios, ROWS):  # what lies left of the diagonal mirrors what lies right of it
            gram[row : row + ROWS, row:].addmm_(double[row : row + ROWS], double[row:].T)
    for row in range(ROWS, scenarios, ROWS):
        gram[row : row + ROWS, :row] = gram[:row, row : row + ROWS].T


def cosines_of(gram: Tensor) -> Tensor:
    """Return the cosines that belong to inner products (E, K, K); a cosine with an update of zero is 0."""
    cosines = torch.empty_like(gram)
    for own, inner in zip(cosines, gram, strict=True):  # one expert at a time: the steps between take memory too
        lengths = inner.diagonal().clamp(min=0).sqrt()
        products = lengths[:, None] * lengths
        own.copy_(torch.where(products > 0, inner / products.clamp(min=torch.finfo(gram.dtype).tiny), 0.0))
    return cosines


def paired_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each vector (..., P) of ``first`` and its like in ``second``, (...) float64; 0 for zeros."""
    most = max(1, AT_ONCE // max(1, first[0].numel())) if first.dim() > 1 else 1
    if first.dim() > 1 and len(first) > most:  # copies in double precision are made of some vectors at a time
        cosines = first.new_empty(first.shape[:-1], dtype=torch.float64)
        pieces = (torch.split(each, most) for each in (cosines, first, second.expand_as(first)))
        for own, *each in zip(*pieces, strict=True):
            own.copy_(paired_cosines(*each))
        return cosines
    product = (first.double() * second.double()).sum(dim=-1)
    lengths = first.double().norm(dim=-1) * second.double().norm(dim=-1)
    return torch.where(lengths > 0, product / lengths.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
