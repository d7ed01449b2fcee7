"""AUC in draws of test users, with weights that every site computes for itself.

A bootstrap over users needs the same draws at all sites, for a user may have rows in several scenarios. Here a user's
weight in a draw follows from a hash of the user and the number of the draw, so the sites exchange nothing. Weights are
Poisson variables of mean 1, as the counts of a bootstrap are where there are many users.

References
----------
Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", Computer Methods and
Programs in Biomedicine 2006. Chamandy et al., "Estimating Uncertainty for Massive Data Streams", Google 2012.

Examples
--------
The first user of one site is the second user of another one, and has the same weights there.

>>> import numpy as np
>>> from pfmsmtrec_flwr.training.draws import poisson_weights, unit_keys
>>> here = unit_keys(np.array([7, 8]), rows=2, people="shop", scenario="NL")
>>> there = unit_keys(np.array([5, 7]), rows=2, people="shop", scenario="ES")
>>> poisson_weights(here, range(1, 7))[0].astype(int).tolist()
[1, 2, 2, 1, 0, 0]
>>> bool((poisson_weights(here, range(1, 7))[0] == poisson_weights(there, range(1, 7))[1]).all())
True
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.data.scenarios import shares_users
from pfmsmtrec_flwr.data.store.manifest import NO_USER
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.results.resampling import FloatMatrix, weighted_auc

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BELOW = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(16)])
"""Probability that a Poisson variable of mean 1 is at most 0, 1, 2, ..."""
_WEIGHTS = 1 << 23
"""Most weights in memory at once."""


def drawn_auc(store: ScenarioStore, probabilities: NDArray[np.float32], draws: int) -> dict[str, NDArray[np.float32]]:
    """Return the AUC of predictions for a store's test rows in each draw (B,), by task.

    It is NaN in a draw that has rows of one class only. A row without a label of a task does not count for it.

    Parameters
    ----------
    store
        Rows of the scenario.
    probabilities
        Predictions (n, T).
    draws
        Number B of draws, which have the numbers 1 to B; 0: nothing is measured.
    """
    if not draws:
        return {}
    split = store.splits["test"]
    people = store.dataset if shares_users(store) else f"{store.dataset}/{store.scenario}"
    users = None if split.users is None else np.asarray(split.users)
    keys, units = np.unique(unit_keys(users, len(split), people=people, scenario=store.scenario), return_inverse=True)
    labels = np.asarray(split.labels)
    rows = [split.rows_of(column) for column in range(len(store.tasks))]
    found = {task: np.empty(draws, dtype=np.float32) for task in store.tasks}
    size = max(1, _WEIGHTS // max(1, len(split)))
    for start in range(0, draws, size):
        block = slice(start, min(start + size, draws))
        weights = poisson_weights(keys, range(block.start + 1, block.stop + 1))
        for column, (task, own) in enumerate(zip(store.tasks, rows, strict=True)):
            found[task][block] = weighted_auc(labels[own, column], probabilities[own, column], units[own], weights)
    return found


def unit_keys(users: NDArray[np.int64] | None, rows: int, *, people: str, scenario: str) -> Keys:
    """Return a key of each row's unit (n,): its user, or the row itself where it has none.

    Parameters
    ----------
    users
        User of each row (n,), or None.
    rows
        Number n of rows.
    people
        Name of the group that the users belong to: in one group, the same number is the same user.
    scenario
        Name of the scenario.
    """
    by_row = _mixed(np.arange(rows, dtype=np.uint64) + _start("row", scenario))
    if users is None:
        return by_row
    by_user = _mixed(users.astype(np.int64).view(np.uint64) + _start("user", people))
    return np.where(users == NO_USER, by_row, by_user)


def poisson_weights(keys: Keys, draws: Sequence[int]) -> FloatMatrix:
    """Return the weight of each unit (U, B) in draws that have a number: a Poisson variable of mean 1.

    Parameters
    ----------
    keys
        Keys of the units (U,).
    draws
        Numbers of the draws; a weight depends on the key and the number of the draw alone.
    """
    numbers = np.asarray(draws, dtype=np.uint64) * _GOLDEN
    uniform = (_mixed(keys[:, None] + numbers) >> np.uint64(11)).astype(np.float64) / (1 << 53)
    return np.searchsorted(_BELOW, uniform, side="right").astype(np.float32)


def _start(kind: str, name: str) -> np.uint64:
    digest = hashlib.blake2b(f"{kind}/{name}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _mixed(numbers: Keys) -> Keys:
    """Return numbers with their bits mixed, a bijection: SplitMix64 (Steele et al., OOPSLA 2014)."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * _MULTIPLIERS[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MULTIPLIERS[1]
    return mixed ^ (mixed >> np.uint64(31))
