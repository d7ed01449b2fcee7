"""Methods without a network: base rates, logistic regressions and boosted trees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import Field

from pfmsmtrec_flwr.central.floor import Example, Fit, Predictor, fit_rate, train_floor
from pfmsmtrec_flwr.central.logistic import fit_logistic
from pfmsmtrec_flwr.central.rates import RateSettings, fit_on_rates
from pfmsmtrec_flwr.central.trees import fit_trees
from pfmsmtrec_flwr.config import CountOrNone, MethodSettings, NotNegative, Positive, RunConfig
from pfmsmtrec_flwr.methods.base import CentralMethod, Space
from pfmsmtrec_flwr.seeds import derive_seed


class RatedSettings(MethodSettings):
    """Settings of the rates that stand for the values of wide fields."""

    encode_above: CountOrNone = 32
    """Number of values above which a field's values are replaced by their rates of positives, taken out of fold; 0
    replaces none."""
    smoothing: NotNegative = 0.0
    """Number of rows at the mean rate that are added to those of each value; 0 estimates it from the variances."""


class LogisticSettings(RatedSettings):
    """Settings of a logistic regression."""

    C: Positive = 0.1
    """Inverse C of the L2 penalty's weight beside the sum of the rows' losses."""


class TreesSettings(RatedSettings):
    """Settings of gradient-boosted trees."""

    num_leaves: Annotated[int, Field(ge=2)] = 15
    """Largest number of leaves of a tree."""
    learning_rate: Positive = 0.05
    """Share of each tree's prediction that is added."""


_RATES: Space = {"encode_above": (0, 8, 32), "smoothing": (0.0, 5.0, 20.0)}
_LOGISTIC: Space = {"C": (0.001, 0.01, 0.1, 1.0), **_RATES}
_TREES: Space = {"num_leaves": (7, 15, 31), "learning_rate": (0.02, 0.05, 0.1), **_RATES}


def _fit_logistic(config: RunConfig, example: Example) -> Predictor:
    own = config.own(LogisticSettings)
    return _on_rates(config, example, own, partial(fit_logistic, inverse=own.C))


def _fit_trees(config: RunConfig, example: Example) -> Predictor:
    own = config.own(TreesSettings)
    grow = partial(fit_trees, config, num_leaves=own.num_leaves, learning_rate=own.learning_rate)
    return _on_rates(config, example, own, grow)


def _on_rates(
    config: RunConfig, example: Example, own: RatedSettings, fit: Callable[[Example], Predictor]
) -> Predictor:
    settings = RateSettings(own.encode_above, own.smoothing)
    return fit_on_rates(example, settings, derive_seed(config.seed, "rates", example.task), fit)


def _floor(
    name: str,
    summary: str,
    source: str,
    fit: Fit,
    settings: type[MethodSettings] = MethodSettings,
    space: Space | None = None,
    *,
    pooled: bool = False,
) -> CentralMethod:
    return CentralMethod(
        name=name,
        summary=summary,
        source=source,
        family="floor",
        parameters="global" if pooled else "personalised",
        settings=settings,
        fixed={"federation.rounds": 1},
        space=space or {},
        train=partial(train_floor, fit=fit, pooled=pooled),
    )


_KE = "Ke et al., NeurIPS 2017"

METHODS = (
    _floor("base-rate", "each scenario's rate of positives in the training rows", "baseline", fit_rate),
    _floor(
        "logistic-alone",
        "a logistic regression for each scenario and task",
        "baseline",
        _fit_logistic,
        LogisticSettings,
        _LOGISTIC,
    ),
    _floor(
        "logistic-pooled",
        "a logistic regression of the pooled rows for each task",
        "baseline",
        _fit_logistic,
        LogisticSettings,
        _LOGISTIC,
        pooled=True,
    ),
    _floor("trees-alone", "boosted trees for each scenario and task", _KE, _fit_trees, TreesSettings, _TREES),
    _floor(
        "trees-pooled",
        "boosted trees of the pooled rows for each task",
        _KE,
        _fit_trees,
        TreesSettings,
        _TREES,
        pooled=True,
    ),
)
