"""Proposals of settings by Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING

from pfmsmtrec_flwr.comparison.spaces import combinations, size
from pfmsmtrec_flwr.config import Settings, Value
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.base import Range, Space
from pfmsmtrec_flwr.seeds import derive_seed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

_SEEDS = 2**32
_REPEATS = 50
"""Number of proposals in a row that may have been tried already, before the next untried settings are taken."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a trial.

    Attributes
    ----------
    score
        Score, the higher the better; None if the trial failed.
    stage
        Number of the last stage that the trial reached, if it was cut short; None for one with all its runs. A
        trial that was cut short is worse than any with all its runs, and better the later that was.
    """

    score: float | None
    stage: int | None = None


class Proposals:
    """Settings to try, none of them twice; the configuration's own come first.

    The same seed and the same outcomes lead to the same proposals, however many of them are asked for.

    Parameters
    ----------
    space
        Values to choose from.
    own
        The configuration's own settings.
    seed
        Seed of the sampler.
    """

    def __init__(self, space: Space, own: Settings, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=derive_seed(seed, "tune") % _SEEDS)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._study.enqueue_trial(own)
        self._own = own
        self._space = space
        self._distributions = {key: _distribution(values) for key, values in space.items()}
        self._asked: dict[str, Trial] = {}
        self._outcomes: dict[str, Outcome] = {}

    def ask(self) -> Settings:
        """Return settings that were not proposed before; there must be some left."""
        repeats = 0
        while True:
            if repeats == _REPEATS and math.isfinite(size(self._space)):
                untried = (settings for settings in combinations(self._space) if _key(settings) not in self._asked)
                self._study.enqueue_trial(next(islice(untried, 1)))
            trial = self._study.ask(self._distributions)
            settings = {key: self._plain(key, value) for key, value in trial.params.items()}
            if _key(settings) not in self._asked:
                self._asked[_key(settings)] = trial
                return settings
            self._answer(trial, self._outcomes.get(_key(settings), Outcome(None)))
            repeats += 1

    def tell(self, settings: Settings, outcome: Outcome) -> None:
        """Take the outcome of settings that were proposed."""
        self._outcomes[_key(settings)] = outcome
        self._answer(self._asked[_key(settings)], outcome)

    def _plain(self, key: str, value: Value) -> Value:
        """Return a value of a range with two significant digits, unless it is the configuration's own."""
        if not isinstance(self._space[key], Range) or value == self._own[key]:
            return value
        return float(f"{value:.2g}")

    def _answer(self, trial: Trial, outcome: Outcome) -> None:
        from optuna.trial import TrialState

        if outcome.score is None:
            self._study.tell(trial, state=TrialState.FAIL)
        elif outcome.stage is None:
            self._study.tell(trial, outcome.score)
        else:
            trial.report(outcome.score, outcome.stage)
            self._study.tell(trial, state=TrialState.PRUNED)


def check_sampler() -> None:
    """Check that the package that proposes settings is installed.

    Raises
    ------
    UserError
        The package is not installed.
    """
    if find_spec("optuna") is None:
        raise UserError("tuning needs optuna: pip install 'pfmsmtrec-flwr[compare]'")


def _distribution(values: tuple[Value, ...] | Range) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(values, Range):
        return FloatDistribution(values.low, values.high, log=values.log)
    return CategoricalDistribution(values)


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)
