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

Validation rows of one class have no AUC. The validation log loss then takes its place.

>>> selection = RoundSelection("scenario", patience=5)
>>> selection.add(1, {"ES": None}, {"ES": 0.25})
>>> selection.add(2, {"ES": None}, {"ES": 0.125})
>>> selection.selected
{'ES': 2}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median as median_of
from typing import Any, Literal, TypeAlias

from pfmsmtrec_flwr.log import logger

Standing: TypeAlias = tuple[bool, float]
"""What rounds are compared by: whether an AUC is defined, then the AUC, or else minus the log loss."""

LARGEST_LOSS = 35.0
"""Log loss that a larger one counts as in a mean: that of a probability of 6e-16."""

NO_STANDING: Standing = (False, -math.inf)
"""Standing without any figure, below all others."""


def standing_of(scores: Iterable[float | None], losses: Iterable[float | None], *, median: bool = False) -> Standing:
    """Return the standing of a round: the mean AUC of those that have one; if none has, minus the mean log loss.

    Parameters
    ----------
    scores, losses
        Validation AUC and log loss of each scenario; None where it is not known or not defined.
    median
        Whether the median takes the place of the mean.
    """
    defined = [score for score in scores if score is not None]
    if defined:
        return True, _middle(defined, median)
    known = [loss for loss in losses if loss is not None]
    return (False, -_middle(known, median)) if known else NO_STANDING


def _middle(values: list[float], median: bool) -> float:
    return median_of(values) if median else math.fsum(values) / len(values)


class RoundSelection:
    """Follows the scenarios' validation figures over the rounds.

    Parameters
    ----------
    mode
        ``scenario``: each scenario has its own best round; ``macro``: the best mean over scenarios counts for all.
    patience
        Rounds without a better mean before stopping; 0: never.
    median
        Whether the median over the scenarios takes the place of their mean.
    """

    def __init__(self, mode: Literal["scenario", "macro"], patience: int, *, median: bool = False) -> None:
        self.mode = mode
        self._median = median
        self.patience = patience
        self.selected: dict[str, int] = {}
        self._scores: dict[str, float] = {}
        self._losses: dict[str, float] = {}
        self._best: dict[str, Standing] = {}
        self._best_macro = NO_STANDING
        self._best_macro_round = 0
        self._best_of: list[str] = []  # scenarios with a figure in the best round
        self._last_round = 0

    def add(
        self, round_number: int, scores: Mapping[str, float | None], losses: Mapping[str, float] | None = None
    ) -> None:
        """Take the validation AUC and the validation log loss of each scenario in one round.

        A scenario without an AUC chooses by its log loss. One that did not answer keeps its choice, and counts in the
        mean with its last figures: otherwise means over different scenarios would be compared. One that answers for
        the first time counts once the others' mean has become better without it. In the mean over K
        scenarios an AUC counts within [0, 1], so none of them moves it by more than 1 / K, and a log loss up to
        `LARGEST_LOSS`.
        """
        new = sorted(name for name in scores if name not in self.selected)
        self._last_round = round_number
        self._scores |= {name: min(1.0, max(0.0, score)) for name, score in scores.items() if score is not None}
        self._losses |= {name: min(LARGEST_LOSS, max(0.0, loss)) for name, loss in (losses or {}).items()}
        better = self._macro(self._best_of or list(self._losses | self._scores)) > self._best_macro
        if better:
            self._best_of = list(self._losses | self._scores)
            self._best_macro, self._best_macro_round = self._macro(self._best_of), round_number
        for scenario, score in scores.items():
            own = standing_of([score], [(losses or {}).get(scenario)])
            improved = better if self.mode == "macro" else own > self._best.get(scenario, NO_STANDING)
            if improved or scenario not in self.selected:
                self.selected[scenario] = round_number
                self._best[scenario] = own
        self._report([name for name in new if name not in self._scores and name in self._losses])

    def state_dict(self) -> dict[str, Any]:
        """Return what later rounds are compared with, for a checkpoint."""
        return {name: value for name, value in vars(self).items() if name not in ("mode", "patience", "median")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        vars(self).update(state)

    @property
    def exhausted(self) -> bool:
        """Whether the mean has not become better for as many rounds as the patience allows; never without a figure."""
        if self._best_macro == NO_STANDING:
            return False
        return 0 < self.patience <= self._last_round - self._best_macro_round

    @property
    def figure(self) -> str:
        """Name of the figure whose mean is followed."""
        return "AUC" if self._scores else "log loss"

    def _macro(self, scenarios: Iterable[str]) -> Standing:
        """Return the standing of the last figures of some scenarios."""
        names = list(scenarios)
        scores, losses = map(self._scores.get, names), map(self._losses.get, names)
        return standing_of(scores, losses, median=self._median)

    def _report(self, scenarios: list[str]) -> None:
        if not scenarios:
            return
        choice = choice_without_auc(self.mode, others=bool(self._scores))
        logger.warning("%s: %s", ", ".join(scenarios), choice)


def choice_without_auc(mode: Literal["scenario", "macro"], *, others: bool) -> str:
    """Say how the round of a scenario without a validation AUC is chosen.

    Parameters
    ----------
    mode
        Mode of the selection.
    others
        Whether another scenario has a validation AUC.
    """
    by = "by the mean AUC of the other scenarios" if mode == "macro" and others else "by validation log loss"
    return f"no validation AUC is defined (one class only), so the round is chosen {by}"
