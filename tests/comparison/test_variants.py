from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.comparison.variants import ABLATED, ablations, safe_name
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.methods import find_method

SWITCHED = {
    "hadamard": {"no template", "additive template"},
    "additive": {"no template", "hadamard template"},
    "none": {"additive template", "hadamard template"},
}
ALWAYS = {
    "federated normalization",
    "stale statistics",
    "no coordination",
    "fixed shares",
    "no expert shares",
    "no tower shares",
    "no regularizer",
    "tasks in all layers",
    "one consensus",
    "common tables",
    "uses balanced",
    "local towers",
    "federated output bias",
    "with averaging",
    "bottom-up schedule",
    "plain embeddings",
    "local embeddings",
    "federated gates",
    "half precision",
    "int8 precision",
}


def spelt(config: RunConfig) -> dict[str, Any]:
    """All settings by key, as under ``methods``."""
    sections = config.model_dump(include={"model", "train", "federation"})
    common = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    return common | config.methods[ABLATED]


def names(config: RunConfig) -> set[str]:
    return {variant.name.removeprefix(f"{ABLATED}: ") for variant in ablations(config)}


@pytest.mark.parametrize("template", ["hadamard", "additive", "none"])
def test_every_switch_is_turned_to_where_it_is_not(template: str) -> None:
    config = RunConfig().with_settings({"pf-msmtrec.template": template}, "test")
    assert names(config) == ALWAYS | SWITCHED[template]


@pytest.mark.parametrize(
    ("settings", "shown", "left_out"),
    [
        ({"task_layers": "all"}, "tasks in the last layer", "tasks in all layers"),
        ({"gates": "federated"}, "local gates", "federated gates"),
        ({"federation.precision": "half"}, "full precision", "half precision"),
        ({"federation.precision": "int8"}, "half precision", "int8 precision"),
        ({"schedule": "bottom-up"}, "fused schedule", "bottom-up schedule"),
        ({"federation.tables": "plain"}, "row-wise embeddings", "plain embeddings"),
        ({"normalization": "federated"}, "local normalization", "federated normalization"),
        ({"output_bias": "federated"}, "local output bias", "federated output bias"),
        ({"train.ema_decay": 0.5}, "no averaging", "with averaging"),
        ({"train.reestimate_batch_norm": False}, "fresh statistics", "stale statistics"),
        ({"row_balance": 0.5}, "uses counted alike", "uses balanced"),
        ({"train.min_steps": 24}, "equal batches", "fresh statistics"),
        ({"train.embedding_optimizer": "adagrad"}, "tables by Adam", "fresh statistics"),
        ({"regularization": 0.0}, "fixed shares", "no regularizer"),
        ({"consensus": "examples"}, "agreeing consensus", "one consensus"),
        ({"consensus": "examples"}, "uses balanced", "common tables"),
        ({"personalized_tables": False}, "personal tables", "common tables"),
        ({"federation.tables": "plain"}, "one consensus", "common tables"),
    ],
)
def test_what_the_configuration_has_already_is_left_out(
    settings: dict[str, str | float | bool], shown: str, left_out: str
) -> None:
    found = names(RunConfig().with_own(settings, "test"))
    assert shown in found
    assert left_out not in found


def test_averaging_is_turned_off_or_to_what_is_shown() -> None:
    for before, after in ((0.5, 0.0), (0.0, 0.7)):
        config = RunConfig().with_settings({"train.ema_decay": before}, "test")
        found = [variant.settings for variant in ablations(config) if variant.name.endswith(" averaging")]
        assert found == [{"train.ema_decay": after}]


def test_an_ablation_changes_its_switch_and_nothing_else() -> None:
    config = find_method(ABLATED).configure(RunConfig())
    for variant in ablations(config):
        assert variant.method == ABLATED
        assert variant.what
        changed, before = spelt(config.with_own(variant.settings, "test")), spelt(config)
        assert {key for key in before if before[key] != changed[key]} == set(variant.settings)


def test_folders_are_distinct() -> None:
    variants = ablations(RunConfig())
    assert len({safe_name(variant.name) for variant in variants}) == len(variants)
    assert safe_name("pf-msmtrec: no pull") == "pf-msmtrec-no-pull"
    assert safe_name("fedhca2") == "fedhca2"


@given(st.text())
def test_a_folder_is_one_safe_name(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"-|[a-z0-9_][a-z0-9_.\-]*", safe)
    assert safe_name(safe) == safe
