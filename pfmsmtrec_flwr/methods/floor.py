"""What any network has to beat: base rates, logistic regressions and boosted trees."""

from __future__ import annotations

from functools import partial

from pfmsmtrec_flwr.central.floor import fit_rate, train_floor
from pfmsmtrec_flwr.central.logistic import fit_logistic
from pfmsmtrec_flwr.central.trees import fit_trees
from pfmsmtrec_flwr.methods.base import CentralMethod, Space

_ONE_ROUND = {"federation.rounds": 1}
_LOGISTIC: Space = {"baselines.inverse_regularization": (0.001, 0.01, 0.1, 1.0)}
_TREES: Space = {"baselines.leaves": (7, 15, 31), "baselines.tree_lr": (0.02, 0.05, 0.1)}

METHODS = (
    CentralMethod(
        name="base-rate",
        summary="each scenario's rate of positives in the training rows",
        source="baseline",
        family="floor",
        parameters="personalised",
        settings=_ONE_ROUND,
        train=partial(train_floor, fit=fit_rate),
    ),
    CentralMethod(
        name="logistic-alone",
        summary="a logistic regression for each scenario and task",
        source="baseline",
        family="floor",
        parameters="personalised",
        settings=_ONE_ROUND,
        space=_LOGISTIC,
        train=partial(train_floor, fit=fit_logistic),
    ),
    CentralMethod(
        name="logistic-pooled",
        summary="a logistic regression of the pooled rows for each task",
        source="baseline",
        family="floor",
        parameters="global",
        settings=_ONE_ROUND,
        space=_LOGISTIC,
        train=partial(train_floor, fit=fit_logistic, pooled=True),
    ),
    CentralMethod(
        name="trees-alone",
        summary="boosted trees for each scenario and task",
        source="Ke et al., NeurIPS 2017",
        family="floor",
        parameters="personalised",
        settings=_ONE_ROUND,
        space=_TREES,
        train=partial(train_floor, fit=fit_trees),
    ),
    CentralMethod(
        name="trees-pooled",
        summary="boosted trees of the pooled rows for each task",
        source="Ke et al., NeurIPS 2017",
        family="floor",
        parameters="global",
        settings=_ONE_ROUND,
        space=_TREES,
        train=partial(train_floor, fit=fit_trees, pooled=True),
    ),
)
