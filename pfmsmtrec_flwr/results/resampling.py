"""AUC of rows with weights, for many sets of weights at once: what a bootstrap over users is computed from.

scikit-learn's `roc_auc_score` takes one set of weights a call and sorts anew each time: 1,000 draws of 20,000 rows take
some 7 seconds for one prediction, and a comparison has hundreds. No library that we know does it in bulk. Here every
prediction is sorted once, and a sparse matrix sums the weights of all draws.

Examples
--------
>>> import numpy as np
>>> from pfmsmtrec_flwr.results.resampling import draw_weights, weighted_auc
>>> labels = np.array([0, 0, 1, 1])
>>> scores = np.array([0.1, 0.4, 0.3, 0.9])
>>> units = np.array([0, 1, 1, 2])  # the second and the third row belong to one user
>>> weights = np.array([[1, 2], [1, 0], [1, 1]], dtype=np.float32)  # three users, two draws
>>> weighted_auc(labels, scores, units, weights).tolist()
[0.75, 1.0]
>>> draw_weights(3, range(2), seed=0).sum(axis=0).tolist()
[3.0, 3.0]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatMatrix = NDArray[np.float32]


def draw_weights(units: int, draws: Sequence[int], seed: int) -> FloatMatrix:
    """Return how often each unit is drawn (U, B), with replacement, in draws that have a number.

    Parameters
    ----------
    units
        Number U of units, such as users.
    draws
        Numbers of the draws. A draw depends on its number and the seed alone; draw 0 has every unit once.
    seed
        Seed.
    """
    drawn = np.ones((len(draws), units), dtype=np.float32)
    for row, number in enumerate(draws):
        if number:
            chosen = np.random.default_rng([seed, number]).integers(units, size=units)
            drawn[row] = np.bincount(chosen, minlength=units)
    return np.ascontiguousarray(drawn.T)


def weighted_auc(
    labels: NDArray[np.integer], scores: NDArray[np.floating], units: NDArray[np.integer], weights: FloatMatrix
) -> NDArray[np.float64]:
    """Return the area under the ROC curve of weighted rows for each draw (B,); NaN where a class has no weight.

    Equal scores count one half, as in the Mann-Whitney statistic.

    Parameters
    ----------
    labels, scores, units
        Label 0 or 1, score, and number of the unit of each row (n,).
    weights
        Weight of each unit in each draw (U, B).
    """
    positive = labels.astype(bool)
    few, many, sign = (positive, ~positive, 1) if 2 * positive.sum() <= len(labels) else (~positive, positive, -1)
    if not few.any():
        return np.full(weights.shape[1], np.nan)
    values, groups = np.unique(scores[few], return_inverse=True)
    own = _sums(groups, units[few], np.ones(len(groups)), len(values), weights)
    lower = np.searchsorted(values, scores[many], side="left")
    upper = np.searchsorted(values, scores[many], side="right")
    # A row counts one half from `lower` on and one half from `upper` on: in its own tie, and above it.
    below = _sums(np.append(lower, upper), np.tile(units[many], 2), np.full(2 * len(lower), 0.5), len(values), weights)
    total_few = own.sum(axis=0, dtype=np.float64)
    total_many = _sums(np.zeros(len(lower), np.int64), units[many], np.ones(len(lower)), 1, weights)[0]
    wins = np.einsum("gb,gb->b", own, _running_sum(below), dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share: NDArray[np.float64] = wins / (total_few * total_many)
    return share if sign > 0 else 1 - share


def _running_sum(matrix: FloatMatrix) -> NDArray[np.float64]:
    """Return the sum of each row and all rows above it; several times as fast as `np.cumsum` along the first axis."""
    total = matrix.astype(np.float64)
    for row in range(1, len(total)):
        np.add(total[row - 1], total[row], out=total[row])
    return total


def _sums(
    groups: NDArray[np.integer],
    units: NDArray[np.integer],
    factors: NDArray[np.float64],
    count: int,
    weights: FloatMatrix,
) -> FloatMatrix:
    """Return the sum of the weights of the rows of each group (count, B); no row counts in a group past them."""
    from scipy.sparse import csr_array

    known = groups < count
    shape = (count, len(weights))
    matrix = csr_array((factors[known].astype(np.float32), (groups[known], units[known])), shape=shape)
    summed: FloatMatrix = matrix @ weights
    return summed
