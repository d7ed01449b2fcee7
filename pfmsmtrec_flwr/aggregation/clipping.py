"""Lengths of the scenarios' updates relative to each other, and the limits that follow for each of them.

Examples
--------
The third update is ten times as long as the others. The fourth comes of four times as many steps, so it is not long.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.clipping import clip_factors, relative_lengths
>>> norms, steps = torch.tensor([1.0, 1.0, 10.0, 3.0]), [10, 10, 10, 40]
>>> relative = relative_lengths(norms, steps)
>>> relative.round(decimals=6).tolist()
[1.0, 1.0, 10.0, 1.5]
>>> clip_factors(relative, multiple=2.0).round(decimals=6).tolist()
[1.0, 1.0, 0.2, 1.0]

A scenario of 10 rows cannot have used the two rows of one field 80 times.

>>> from pfmsmtrec_flwr.aggregation.clipping import uses_fit
>>> uses_fit(torch.tensor([0, 1]), torch.tensor([60, 20]), ends=torch.tensor([2]), most=torch.tensor([10]))
False
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def relative_lengths(norms: Tensor, steps: Sequence[int]) -> Tensor:
    """Return the length of each scenario's update of one part of the model, relative to the median.

    An update of q steps of training is some sqrt(q) long, as its steps are mostly noise. So the norms are compared per
    square root of a step: ``(norm_s / sqrt(q_s)) / median_j(norm_j / sqrt(q_j))`` (our construction).

    The median is over the scenarios that moved at all; of an even number of them it is the lower one of the two in the
    middle. Fewer than half of them cannot move it beyond the smallest and largest value of the others. Of two
    scenarios, the one that moved less is the measure.

    Parameters
    ----------
    norms
        Euclidean norm of each scenario's update (K,).
    steps
        Number of steps of training that each scenario was asked for.

    Returns
    -------
    Tensor
        Relative lengths (K,) float64; 0 for a scenario that did not move, 1 where one alone did.

    References
    ----------
    The median of the norms as a bound: Andrew et al., "Differentially Private Learning with Adaptive Clipping",
    NeurIPS 2021.
    """
    pace = norms.double() / torch.tensor(steps, dtype=torch.float64).sqrt()
    moved = pace > 0
    return pace / pace[moved].median() if moved.any() else pace


def clip_factors(relative: Tensor, multiple: float) -> Tensor:
    """Return the factors in [0, 1] that shorten updates of some relative lengths (K,) to a multiple of the median.

    References
    ----------
    Norm thresholding: Sun et al., "Can You Really Backdoor Federated Learning?", arXiv 1911.07963.
    """
    return torch.where(relative > multiple, multiple / relative.clamp(min=1e-300), 1.0)


def uses_fit(rows: Tensor, counts: Tensor, ends: Tensor, most: Tensor) -> bool:
    """Return whether no field has more uses of its rows than its largest number.

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
    """
    fields = torch.searchsorted(ends, rows, right=True)
    sums = torch.zeros(len(ends), dtype=torch.float64).index_add_(0, fields, counts.double())
    return bool((sums <= most).all())
