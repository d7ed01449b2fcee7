"""The agreement between scenarios, which decides who shares a consensus.

Examples
--------
Scenarios a and b have one aim, c the opposite one; each update has three times as much noise as aim in it.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.agreement import Agreement
>>> from pfmsmtrec_flwr.aggregation.cosines import cosines_of, gram_matrices
>>> generator = torch.Generator().manual_seed(0)
>>> aim = torch.randn(4, 1000, generator=generator)  # (E, P)
>>> agreement = Agreement()
>>> for _ in range(10):
...     noise = 3 * torch.randn(3, 4, 1000, generator=generator)
...     updates = torch.stack([aim, aim, -aim]) + noise  # (K, E, P)
...     agreement.add(["a", "b", "c"], updates, cosines_of(gram_matrices(updates)))
>>> [[round(value, 1) for value in row] for row in agreement.among(["a", "b", "c"]).tolist()]
[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from pfmsmtrec_flwr.aggregation.cosines import paired_cosines

CERTAINTY = 2.0
"""Number of standard errors within which a mean cosine counts as noise."""


@dataclass(frozen=True, slots=True)
class _Mean:
    """Weighted means of cosines, one for each scenario (K,) or pair of scenarios (K, K), float64."""

    sums: Tensor
    weights: Tensor
    squares: Tensor  # sums of squared weights

    @classmethod
    def empty(cls, *shape: int) -> _Mean:
        return cls(*(torch.zeros(shape, dtype=torch.float64) for _ in range(3)))

    def grown(self, more: int) -> _Mean:
        """Return the means with room for more scenarios."""
        room = (0, more) * self.sums.dim()
        return _Mean(pad(self.sums, room), pad(self.weights, room), pad(self.squares, room))

    def add(self, places: tuple[Tensor, ...], cosines: Tensor, weight: float) -> None:
        self.sums[places] += weight * cosines
        self.weights[places] += weight
        self.squares[places] += weight**2

    @property
    def value(self) -> Tensor:
        """The means; 0 where nothing was added."""
        return self.sums / torch.where(self.weights > 0, self.weights, 1.0)

    @property
    def error(self) -> Tensor:
        """Standard errors of the means, in standard deviations of one cosine; infinite where nothing was added."""
        return torch.where(self.weights > 0, self.squares.sqrt() / self.weights, torch.inf)


class Agreement:
    """Agreement between scenarios, learned from their updates over the rounds.

    The updates of two scenarios are noisy, so their cosine is small even where both want the same. It is divided by
    what it would be if they did, the correction for attenuation of psychometrics:

    ``a_sj = clip(c_sj / sqrt(r_s r_j), 0, 1)``, ``a_ss = 1``,

    with ``c_sj`` the mean over rounds and experts of ``cos(Delta_s, Delta_j)``, and the reliability ``r_s`` the mean of
    the cosine between a scenario's update and its own update of the round before. Early rounds count most, the n-th by
    1 / n: late updates follow a scenario's own rows rather than what scenarios share.

    What lies within `CERTAINTY` standard errors is noise: c is shrunk to ``c - error^2 / c``, and to 0 if it is smaller
    than its error; r is at least its error. Experts see the same rows, so the spread of a pair's cosines over the
    experts stands for the standard deviation of their mean in one round. The reliability of a scenario that has
    reported once is the largest shrunk c of any pair (our construction).

    Parameters
    ----------
    repeats
        Whether a scenario's reliability is measured. It cannot be where an optimiser keeps its momentum from one round
        to the next, which alone makes the updates alike; then each agreement is relative to the pair that agrees most.

    References
    ----------
    Spearman, "The Proof and Measurement of Association between Two Things", Am. J. Psychol. 1904. The shrinking is that
    of James and Stein, positive part.
    """

    def __init__(self, *, repeats: bool = True) -> None:
        self._repeatable = repeats
        self._places: dict[str, int] = {}
        self._last: dict[str, tuple[Tensor, float]] = {}
        self._pairs = _Mean.empty(0, 0)
        self._repeats = _Mean.empty(0)
        self._rounds = 0
        self._variance = 0.0  # sum over the rounds
        self._found: dict[tuple[str, ...], Tensor] = {}  # since the last round

    def add(self, scenarios: Sequence[str], updates: Tensor, cosines: Tensor) -> None:
        """Add the updates of one round.

        Parameters
        ----------
        scenarios
            Names of the K scenarios that reported in the round.
        updates
            Their updates of each expert (K, E, P).
        cosines
            Cosines between the updates, for each expert (E, K, K).
        """
        places = self._places_of(scenarios)
        self._found = {}
        self._rounds += 1
        self._variance += _variance(cosines, updates.shape[2])
        weight = 1.0 / self._rounds
        self._pairs.add((places[:, None], places), cosines.double().mean(dim=0), weight)
        if self._repeatable:
            self._compare_with_last(dict(zip(scenarios, updates, strict=True)), weight)

    def among(self, scenarios: Sequence[str]) -> Tensor:
        """Return the agreement of each pair, (K, K) float64 in [0, 1], symmetric, with ones on the diagonal.

        The result is kept until the next round is added, and is not to be changed.
        """
        names = tuple(scenarios)
        if names not in self._found:
            self._found[names] = self._among(names)
        return self._found[names]

    def _among(self, scenarios: Sequence[str]) -> Tensor:
        places = self._places_of(scenarios)
        noise = CERTAINTY * (self._variance / max(1, self._rounds)) ** 0.5
        cosines, error = self._pairs.value, noise * self._pairs.error
        beyond = torch.where(cosines > error, cosines - error.square() / cosines, 0.0).fill_diagonal_(0.0)
        repeated = torch.maximum(self._repeats.value, noise * self._repeats.error)
        reliability = torch.where(self._repeats.weights > 0, repeated, beyond.max())
        attainable = (reliability[:, None] * reliability).sqrt()
        found = torch.where(beyond > 0, beyond / attainable, 0.0).clamp(0.0, 1.0)
        return found[places[:, None], places].fill_diagonal_(1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return all that was learned so far, as plain values and tensors."""
        means = {name: getattr(self, name) for name in ("_pairs", "_repeats")}
        plain = {name: getattr(self, name) for name in ("_places", "_last", "_rounds", "_variance")}
        return plain | {name: (mean.sums, mean.weights, mean.squares) for name, mean in means.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        means = {name: _Mean(*state[name]) for name in ("_pairs", "_repeats")}
        vars(self).update({**state, **means, "_found": {}})

    def _compare_with_last(self, updates: Mapping[str, Tensor], weight: float) -> None:
        """Add the cosine between each scenario's update (E, P) and its last one, and keep the update."""
        for name, update in updates.items():
            if name in self._last:
                before, earlier = self._last[name]
                self._repeats.add((self._places_of([name]),), paired_cosines(update, before).mean(), earlier)
            self._last[name] = update, weight

    def _places_of(self, scenarios: Sequence[str]) -> Tensor:
        """Return the positions of the scenarios in the means, which grow where a scenario is new."""
        for name in scenarios:
            self._places.setdefault(name, len(self._places))
        if more := len(self._places) - len(self._repeats.sums):
            self._pairs = self._pairs.grown(more)
            self._repeats = self._repeats.grown(more)
        return torch.tensor([self._places[name] for name in scenarios])


def _variance(cosines: Tensor, parameters: int) -> float:
    """Return the variance of a pair's cosines (E, K, K) over the experts, mean over pairs, at least that of chance.

    Two unrelated directions of P parameters have a cosine of variance 1 / P; with one expert there is nothing else.
    """
    experts, scenarios, _ = cosines.shape
    if experts == 1 or scenarios == 1:
        return 1.0 / parameters
    spread = cosines.double().var(dim=0)
    between = (spread.sum() - spread.diagonal().sum()) / (scenarios * (scenarios - 1))
    return max(float(between), 1.0 / parameters)
