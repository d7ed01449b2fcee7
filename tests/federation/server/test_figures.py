from __future__ import annotations

import pytest

from pfmsmtrec_flwr.federation.server.figures import below, gate_shares, mean_loss, validation_metrics
from pfmsmtrec_flwr.training.records import TaskValidation

FIGURES = {
    "examples": 30.0,
    "loss.click": 0.5,
    "loss.like": 0.25,
    "validation.auc.click": 0.75,
    "validation.logloss.click": 0.2,
    "validation.logloss.like": 0.1,
    "gate.click.1": 0.7,
    "gate.click.0": 0.3,
    "test.auc.click": 0.6,
}


def test_the_loss_is_the_mean_over_the_tasks() -> None:
    assert mean_loss(FIGURES) == 0.375


def test_an_auc_that_is_missing_is_none() -> None:
    assert validation_metrics(FIGURES, ["click", "like"]) == {
        "click": TaskValidation(0.75, 0.2),
        "like": TaskValidation(None, 0.1),
    }
    with pytest.raises(KeyError, match=r"logloss\.share"):
        validation_metrics(FIGURES, ["share"])


def test_shares_come_in_the_order_of_the_experts_and_only_where_there_are_gates() -> None:
    assert gate_shares(FIGURES, ["click", "like"]) == {"click": [0.3, 0.7]}


def test_figures_below_a_prefix_lose_it() -> None:
    assert below("test.", FIGURES) == {"auc.click": 0.6}
