"""Limits of what one scenario's update, counts and examples may do to the others.

Examples
--------
The third update is ten times as long as the others, and counts with 0.04 of its length: 0.4, below their double. The
fourth comes of four times as many steps, so it may be twice as long as an update of few steps.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.clipping import clip_factors
>>> norms, steps = torch.tensor([1.0, 1.0, 10.0, 3.0]), [10, 10, 10, 40]
>>> [round(factor, 3) for factor in clip_factors(norms, steps, multiple=2.0).tolist()]
[1.0, 1.0, 0.04, 1.0]

A scenario of 10 rows cannot have used the two rows of one field more than 10 times.

>>> from pfmsmtrec_flwr.aggregation.clipping import capped_counts
>>> rows, counts = torch.tensor([0, 1]), torch.tensor([60, 20])
>>> capped_counts(rows, counts, ends=torch.tensor([2]), most=torch.tensor([10])).tolist()
[7, 2]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def clip_factors(norms: Tensor, steps: Sequence[int], multiple: float) -> Tensor:
    """Return the factor in [0, 1] by which each scenario's update of one part of the model is shortened.

    An update of τ steps of training is some sqrt(τ) long, as its steps are mostly noise. So the norms are compared
    per square root of a step: with ``m = median_j(norm_j / sqrt(steps_j))`` and
    ``longest_s = multiple * m * sqrt(steps_s)``, an update that is longer counts with ``longest_s^2 / norm_s`` of
    length. That is at most ``longest_s``, and the less, the more an update exceeds it (our construction): one that is a
    thousand times too long is an error or an attack, and hardly counts.

    The median is over the scenarios that moved at all; of an even number of them it is the lower one of the two in the
    middle. Fewer than half of them cannot move m beyond the smallest and largest value of the others. Of two scenarios,
    neither moves farther than a multiple of what the other one does.

    Parameters
    ----------
    norms
        Euclidean norm of each scenario's update (K,).
    steps
        Number of steps of training that each scenario was asked for.
    multiple
        Largest norm, in medians.

    Returns
    -------
    Tensor
        Factors (K,) float64; exactly 1 for an update that is short enough, and where one scenario alone moved.

    References
    ----------
    Norm thresholding: Sun et al., "Can You Really Backdoor Federated Learning?", arXiv 1911.07963. The median of the
    norms as the bound: Andrew et al., "Differentially Private Learning with Adaptive Clipping", NeurIPS 2021.
    """
    lengths = norms.double()
    moved = lengths > 0
    if moved.sum() < 2:
        return torch.ones_like(lengths)
    scale = torch.tensor(steps, dtype=torch.float64).sqrt()
    longest = multiple * (lengths / scale)[moved].median() * scale
    return torch.where(lengths > longest, (longest / torch.where(moved, lengths, 1.0)).square(), 1.0)


def capped_counts(rows: Tensor, counts: Tensor, ends: Tensor, most: Tensor) -> Tensor:
    """Return the numbers of uses of a table's rows, scaled down where a field has more than its largest number.

    Parameters
    ----------
    rows
        Row numbers, ascending (n,) int64.
    counts
        Number of uses of each row (n,) int64, positive.
    ends
        End of each field's rows in the stacked table (F,) int64.
    most
        Largest number of uses of all rows of a field (F,) int64.

    Returns
    -------
    Tensor
        Counts (n,) int64, each at least 1; the very argument if no field has too many.
    """
    fields = torch.searchsorted(ends, rows, right=True)
    sums = torch.zeros(len(ends), dtype=torch.float64).index_add_(0, fields, counts.double())
    excess = sums / most.double().clamp(min=1.0)
    if not (excess > 1.0).any():
        return counts
    return (counts.double() / excess.clamp(min=1.0)[fields]).floor().clamp(min=1.0).long()
