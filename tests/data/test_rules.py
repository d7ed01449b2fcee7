"""Scenarios of one run were chosen and split by the same rules."""

from __future__ import annotations

from typing import Any

import pytest

from pfmsmtrec_flwr.data.rules import PreparedRules, refuse_other_rules
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.validation import parse

BY_DAY = {"by_date": {"column": "day", "last_days": {"test": 1, "validation": 1}}}


def rules(values: dict[Any, str] | None = None, **changes: Any) -> PreparedRules:
    document: dict[str, Any] = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log.csv"]},
        "scenario": {"column": "country", "values": values or {"1": "NL", "2": "DE"}},
        "tasks": {"ctr": "click"},
        "users": "user",
        "split": BY_DAY,
        "fields": {"item": {"hash": {"buckets": 50}, "embedding": "federated"}},
    }
    return PreparedRules.of(parse(DatasetSchema, document | changes, "shop.yaml"))


@pytest.mark.parametrize(
    "other",
    [
        rules({"1": "NL", "2": "DE", "3": "BE"}),
        rules({"01": "NL", 2: "DE"}),
        rules(users="visitor"),
        rules(scenario={"column": "country", "values": {"1": "NL", "2": "DE"}, "others": "drop"}),
    ],
    ids=["one-more", "another-spelling", "users-that-the-split-does-not-read", "other-rows-dropped"],
)
def test_rules_that_go_together(other: PreparedRules) -> None:
    refuse_other_rules("shop", {"NL": rules(), "DE": other, "old": None})


@pytest.mark.parametrize(
    ("other", "rule", "shown"),
    [
        (rules(split={"by_user": {"validation": 0.1, "test": 0.2}}), "split", "by_user: {validation: 0.1"),
        (rules(split={"by_date": {"column": "day", "last_days": {"test": 2, "validation": 1}}}), "split", "test: 2"),
        (rules(split={"random": {"validation": 0.1, "test": 0.2, "seed": 1}}), "split", "seed: 1"),
        (rules(times={"day": {"form": "seconds", "zone": "Europe/Amsterdam"}}), "split", "zone: Europe/Amsterdam"),
        (rules({"1": "DE", "2": "NL"}), "scenario", "'2': NL"),
        (rules({"3": "NL", "2": "DE"}), "scenario", "'3': NL"),
        (rules({"1": "NL", "2": "BE"}), "scenario", "'2': BE"),
        (rules(scenario={"column": "market", "values": {"1": "NL", "2": "DE"}}), "scenario", "column: market"),
        (rules(scenario={"column": "age", "bands": [25, 35]}), "scenario", "bands: [25.0, 35.0]"),
    ],
)
def test_rules_that_differ_are_refused_with_scenario_rule_and_command(
    other: PreparedRules, rule: str, shown: str
) -> None:
    with pytest.raises(UserError) as error:
        refuse_other_rules("shop", {"NL": rules(), "FR": rules(), "DE": other})
    text = str(error.value)
    assert text.startswith(f"scenarios DE and FR were prepared under different {rule} rules (DE: ")
    assert shown in text
    assert "`pfmsmtrec prepare shop --source DIR`" in text


def test_the_seed_or_the_users_of_a_split_by_user_are_part_of_the_rule() -> None:
    split = {"by_user": {"validation": 0.1, "test": 0.2}}
    assert rules(split=split).difference(rules(split=split)) is None
    assert rules(split=split).difference(rules(split=split, users="visitor")) is not None


def test_a_default_that_is_written_out_is_no_difference() -> None:
    split = {"random": {"validation": 0.1, "test": 0.2}}
    written = {"random": {"validation": 0.1, "test": 0.2, "seed": 0}}
    assert rules(split=split).difference(rules(split=written)) is None


def test_bands_differ_by_their_numbers() -> None:
    one, other = (rules(scenario={"column": "age", "bands": bands}) for bands in ([25, 35], [25, 40]))
    assert one.difference(one) is None
    assert one.difference(other) is not None
