"""The agreement between scenarios, which decides who shares a consensus.

Examples
--------
In one round, scenarios a and b move in similar directions, while c moves against both.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.agreement import Agreement
>>> agreement = Agreement()
>>> cosines = torch.tensor([[[1.0, 0.2, -0.1], [0.2, 1.0, -0.1], [-0.1, -0.1, 1.0]]])  # (E, K, K), one expert
>>> agreement.add(["a", "b", "c"], cosines)
>>> agreement.among(["a", "b", "c"]).tolist()
[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Agreement:
    """Agreement between scenarios, learned from the cosines of their updates over the rounds.

    The updates of two scenarios are noisy, so their cosine is small even where the scenarios want the same. The
    agreement is therefore the mean cosine over rounds and experts, relative to the pair that agrees most:
    ``a_sj = clip(mean cos(Delta_s, Delta_j) / max over all pairs of that mean, 0, 1)``, ``a_ss = 1``. Scenarios whose
    updates are opposed or unrelated have an agreement of zero (our construction).
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._sums = torch.zeros(0, 0, dtype=torch.float64)
        self._rounds = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, scenarios: Sequence[str], cosines: Tensor) -> None:
        """Add the cosines of one round.

        Parameters
        ----------
        scenarios
            Names of the K scenarios that reported in the round.
        cosines
            Cosines between their updates, for each expert (E, K, K).
        """
        places = self._places_of(scenarios)
        self._sums[places[:, None], places] += cosines.double().mean(dim=0)
        self._rounds[places[:, None], places] += 1

    def among(self, scenarios: Sequence[str]) -> Tensor:
        """Return the agreement of each pair, (K, K) float64 in [0, 1], symmetric, with ones on the diagonal."""
        places = self._places_of(scenarios)
        means = (self._sums / self._rounds.clamp(min=1)).fill_diagonal_(0.0).clamp(min=0.0)
        highest = means.max()
        relative = means / highest if highest > 0 else means
        return relative[places[:, None], places].fill_diagonal_(1.0)

    def _places_of(self, scenarios: Sequence[str]) -> Tensor:
        """Return the positions of the scenarios in the sums, which grow where a scenario is new."""
        for name in scenarios:
            self._places.setdefault(name, len(self._places))
        grown = len(self._places) - len(self._sums)
        if grown:
            self._sums = torch.nn.functional.pad(self._sums, (0, grown, 0, grown))
            self._rounds = torch.nn.functional.pad(self._rounds, (0, grown, 0, grown))
        return torch.tensor([self._places[name] for name in scenarios])
