"""Which scenarios agree: whom a scenario shares a consensus with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Agreement:
    """Agreement between scenarios, learned from the cosines of their updates over the rounds.

    The cosine of two updates is small even where two scenarios want the same, as each has its own noise. What tells
    them apart is the mean over rounds and experts, relative to the pair that agrees most:
    ``a_sj = clip(mean cos(Delta_s, Delta_j) / max of it over all pairs, 0, 1)``, ``a_ss = 1``. Scenarios that pull in
    opposite directions, or in unrelated ones, have an agreement of zero (ours).
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._sums = torch.zeros(0, 0, dtype=torch.float64)
        self._rounds = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, scenarios: Sequence[str], cosines: Tensor) -> None:
        """Take in a round.

        Parameters
        ----------
        scenarios
            Those that reported.
        cosines
            Between their updates of each expert (E, K, K).
        """
        places = self._places_of(scenarios)
        self._sums[places[:, None], places] += cosines.double().mean(dim=0)
        self._rounds[places[:, None], places] += 1

    def among(self, scenarios: Sequence[str]) -> Tensor:
        """Return the agreement of each pair, (K, K) float64 in [0, 1], symmetric, its diagonal one."""
        places = self._places_of(scenarios)
        means = (self._sums / self._rounds.clamp(min=1)).fill_diagonal_(0.0).clamp(min=0.0)
        highest = means.max()
        relative = means / highest if highest > 0 else means
        return relative[places[:, None], places].fill_diagonal_(1.0)

    def _places_of(self, scenarios: Sequence[str]) -> Tensor:
        """Return the scenarios' places, making room for those that are new."""
        for name in scenarios:
            self._places.setdefault(name, len(self._places))
        grown = len(self._places) - len(self._sums)
        if grown:
            self._sums = torch.nn.functional.pad(self._sums, (0, grown, 0, grown))
            self._rounds = torch.nn.functional.pad(self._rounds, (0, grown, 0, grown))
        return torch.tensor([self._places[name] for name in scenarios])
