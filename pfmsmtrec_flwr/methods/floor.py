"""What any network has to beat: base rates, logistic regressions and boosted trees."""

from __future__ import annotations

from functools import partial

from pfmsmtrec_flwr.central.floor import Fit, fit_rate, train_floor
from pfmsmtrec_flwr.central.logistic import fit_logistic
from pfmsmtrec_flwr.central.trees import fit_trees
from pfmsmtrec_flwr.methods.base import CentralMethod, Space

_LOGISTIC: Space = {"baselines.inverse_regularization": (0.001, 0.01, 0.1, 1.0)}
_TREES: Space = {"baselines.leaves": (7, 15, 31), "baselines.tree_lr": (0.02, 0.05, 0.1)}


def _floor(name: str, summary: str, source: str, fit: Fit, space: Space, *, pooled: bool = False) -> CentralMethod:
    return CentralMethod(
        name=name,
        summary=summary,
        source=source,
        family="floor",
        parameters="global" if pooled else "personalised",
        settings={"federation.rounds": 1},
        space=space,
        train=partial(train_floor, fit=fit, pooled=pooled),
    )


_KE = "Ke et al., NeurIPS 2017"

METHODS = (
    _floor("base-rate", "each scenario's rate of positives in the training rows", "baseline", fit_rate, {}),
    _floor("logistic-alone", "a logistic regression for each scenario and task", "baseline", fit_logistic, _LOGISTIC),
    _floor(
        "logistic-pooled",
        "a logistic regression of the pooled rows for each task",
        "baseline",
        fit_logistic,
        _LOGISTIC,
        pooled=True,
    ),
    _floor("trees-alone", "boosted trees for each scenario and task", _KE, fit_trees, _TREES),
    _floor("trees-pooled", "boosted trees of the pooled rows for each task", _KE, fit_trees, _TREES, pooled=True),
)
