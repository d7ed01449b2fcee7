"""Selection of the round that counts, by validation data alone, and early stopping.

Examples
--------
Scenario NL is best in round 1, US in round 2.

>>> from pfmsmtrec_flwr.training.selection import RoundSelection
>>> selection = RoundSelection("scenario", patience=5)
>>> selection.add(1, {"NL": 0.75, "US": 0.5})
>>> selection.add(2, {"NL": 0.5, "US": 0.625})
>>> selection.selected
{'NL': 1, 'US': 2}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal


class RoundSelection:
    """Follows the scenarios' validation scores over the rounds.

    Parameters
    ----------
    mode
        ``scenario``: each scenario has its own best round; ``macro``: the best mean over scenarios counts for all.
    patience
        Rounds without a better mean before stopping; 0: never.
    """

    def __init__(self, mode: Literal["scenario", "macro"], patience: int) -> None:
        self.mode = mode
        self.patience = patience
        self.selected: dict[str, int] = {}
        self._last: dict[str, float] = {}
        self._best: dict[str, float] = {}
        self._best_macro = -math.inf
        self._best_macro_round = 0
        self._last_round = 0

    def add(self, round_number: int, scores: Mapping[str, float | None]) -> None:
        """Take the scores of one round.

        A scenario whose score is not defined, or that did not answer, keeps its choice, and counts in the mean with its
        last score: otherwise means over different scenarios would be compared.
        """
        self._last_round = round_number
        for scenario, score in scores.items():
            if score is not None:
                self._last[scenario] = score
        present = [self._last[scenario] for scenario in sorted(self._last)]
        macro = math.fsum(present) / len(present) if present else -math.inf
        better = macro > self._best_macro
        if better:
            self._best_macro, self._best_macro_round = macro, round_number
        for scenario, score in scores.items():
            if self.mode == "macro":
                improved = better
            else:
                improved = score is not None and self._last[scenario] > self._best.get(scenario, -math.inf)
            if improved or scenario not in self.selected:
                self.selected[scenario] = round_number
                self._best[scenario] = self._last.get(scenario, -math.inf)

    @property
    def exhausted(self) -> bool:
        """Whether the mean has not become better for as many rounds as the patience allows."""
        return 0 < self.patience <= self._last_round - self._best_macro_round
