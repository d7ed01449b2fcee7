from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.schema import (
    AttainableResult,
    Examples,
    MacroResult,
    RunResults,
    ScenarioResult,
    Seconds,
    TaskResult,
    Traffic,
    finite,
    results_from,
)
from pfmsmtrec_flwr.validation import parse

SIZES = Examples(train=80, validation=10, test=10)


def scenario(auc: float | None, logloss: float | None = 0.25, *, round_number: int = 3) -> ScenarioResult:
    result = TaskResult(auc=auc, logloss=logloss, positives=2, examples=10)
    return ScenarioResult(examples=SIZES, selected_round=round_number, tasks={"ctr": result})


def results(scenarios: dict[str, ScenarioResult]) -> RunResults:
    return results_from(method="fedavg", dataset="synthetic", seed=3, rounds=4, scenarios=scenarios)


def test_the_document_is_the_one_that_the_design_draws() -> None:
    made = results_from(
        method="fedavg",
        parameters="global",
        dataset="synthetic",
        seed=3,
        rounds=4,
        scenarios={"US": scenario(0.5), "NL": scenario(None)},
        best_attainable={"US": {"ctr": AttainableResult(auc=0.75, logloss=0.2)}, "NL": {"ctr": None}},
        reference=("alone",),
        traffic=Traffic(up_bytes=5, down_bytes=7),
        seconds=Seconds(total=2.0, train=1.0, aggregate=0.5),
    ).model_dump(mode="json")
    assert set(made.pop("versions")) == {"python", "pfmsmtrec-flwr", "flwr", "torch", "numpy"}
    examples = {"train": 80, "validation": 10, "test": 10}
    task = {"logloss": 0.25, "gauc": None, "gauc_coverage": None, "calibration": None, "positives": 2, "examples": 10}
    task |= {"logloss_calibrated": None, "calibration_calibrated": None}
    task |= {"interval": None}
    rest = {"consensus": {}, "note": ""}
    assert made == {
        "schema": 1,
        "method": "fedavg",
        "family": "federated",
        "parameters": "global",
        "dataset": "synthetic",
        "seed": 3,
        "rounds": 4,
        "scenarios": {
            "NL": {"examples": examples, "selected_round": 3, "tasks": {"ctr": {"auc": None, **task}}, **rest},
            "US": {"examples": examples, "selected_round": 3, "tasks": {"ctr": {"auc": 0.5, **task}}, **rest},
        },
        "macro": {"ctr": {"auc": 0.5, "interval": None, "logloss": 0.25, "gauc": None, "logloss_calibrated": None}},
        "best_attainable": {"NL": {"ctr": None}, "US": {"ctr": {"auc": 0.75, "logloss": 0.2}}},
        "reference": ["alone"],
        "draws": 0,
        "differences": [],
        "traffic": {"up_bytes": 5, "down_bytes": 7},
        "seconds": {"total": 2.0, "train": 1.0, "aggregate": 0.5},
    }
    assert list(made["scenarios"]) == ["NL", "US"]


def test_figures_may_come_from_numpy_and_are_null_where_they_are_not_finite() -> None:
    float32: Any = np.float32(0.5)  # as numpy measures: JSON knows plain numbers only
    result = TaskResult(auc=float32, logloss=np.float64("nan"), gauc=math.inf, positives=0, examples=10)
    assert (result.auc, result.logloss, result.gauc) == (0.5, None, None)


def test_a_diverged_scenario_does_not_drop_out_of_the_mean_log_loss() -> None:
    made = results({"NL": scenario(0.5, None), "US": scenario(0.75, 0.25)})
    assert made.macro["ctr"] == MacroResult(auc=0.625, logloss=None)


def test_a_mean_counts_only_the_scenarios_that_have_the_task() -> None:
    both = {"ctr": TaskResult(auc=0.5, logloss=0.25, positives=1, examples=10)}
    both["buy"] = TaskResult(auc=0.875, logloss=0.5, gauc=0.75, positives=1, examples=10)
    wide = ScenarioResult(examples=SIZES, selected_round=1, tasks=both)
    made = results({"NL": scenario(0.75, 0.5), "US": wide})
    assert tuple(made.macro) == ("ctr", "buy")
    assert made.macro["ctr"] == MacroResult(auc=0.625, logloss=0.375)
    assert made.macro["buy"] == MacroResult(auc=0.875, logloss=0.5, gauc=0.75)


@pytest.mark.parametrize("value", ["0.5", {"auc": 0.5}, True])
def test_a_figure_is_a_number(value: object) -> None:
    document = {"auc": value, "logloss": 0.5, "positives": 0, "examples": 1}
    with pytest.raises(UserError, match=r"^file: key 'auc': got .*; input should be a number or null$"):
        parse(TaskResult, document, "file")


def test_an_unknown_key_is_named() -> None:
    document = results({"NL": scenario(0.5)}).model_dump(mode="json") | {"sed": 3}
    with pytest.raises(UserError, match=r"^results\.json: unknown key 'sed'; did you mean 'seed'\?$"):
        parse(RunResults, document, "results.json")


@given(st.floats())
def test_finite_keeps_every_number_that_json_knows(value: float) -> None:
    assert finite(value) == (value if math.isfinite(value) else None)
