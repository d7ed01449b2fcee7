"""Rules of a schema by which a scenario's rows were chosen and split, and their comparison between scenarios.

Scenarios of one data folder must have the same rules. Sites agree on the split rule only: their tables may have other
columns, or no column of scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

from pfmsmtrec_flwr.data.schema.document import SCHEMA_NAME, DatasetSchema, load_schema
from pfmsmtrec_flwr.data.schema.spelling import canonical
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.validation import flow_yaml


@dataclass(frozen=True, slots=True)
class PreparedRules:
    """Rules under which a scenario was prepared."""

    scenario: dict[str, Any]
    """Column of the scenarios and, for `bands`, the bands; empty if scenarios have files of their own."""
    values: dict[str, str]
    """Name of the scenario for each value of the column."""
    split: dict[str, Any]
    """Split rule, with the column of users and the form of the times if it reads them."""

    @classmethod
    def of(cls, schema: DatasetSchema) -> PreparedRules:
        """Return the rules of a schema."""
        column, split = schema.scenario.column, schema.split
        bands = schema.scenario.bands
        form = schema.form_of(column or "")
        by_time = split.by_date or split.by_user_time
        times = schema.times.get(by_time.column) if by_time else None
        by_user = split.by_user is not None or split.by_user_time is not None
        return cls(
            scenario=({"column": column} if column else {}) | ({"bands": list(bands)} if bands else {}),
            values={canonical(value, form): name for value, name in (schema.scenario.values or {}).items()},
            split=split.model_dump(mode="json", exclude_none=True)
            | ({"users": schema.users} if by_user else {})
            | ({"times": times.model_dump(mode="json", exclude_none=True)} if times else {}),
        )

    def difference(self, other: PreparedRules) -> tuple[str, str, str] | None:
        """Return the name of the first rule that differs, and the text of both; None if the rules go together.

        A scenario that only one of the rules knows is no difference.
        """
        if self.split != other.split:
            return "split", flow_yaml(self.split), flow_yaml(other.split)
        if self.scenario != other.scenario:
            return "scenario", flow_yaml(self.scenario), flow_yaml(other.scenario)
        both = set(self.values.values()) & set(other.values.values())
        mine, theirs = (
            {value: name for value, name in rules.values.items() if name in both or value in more.values}
            for rules, more in ((self, other), (other, self))
        )
        if mine != theirs:
            lines = [flow_yaml(self.scenario | {"values": values}) for values in (mine, theirs)]
            return "scenario", lines[0], lines[1]
        return None


def rules_of(store: ScenarioStore) -> PreparedRules | None:
    """Return the rules under which a store was prepared; None for made-up rows and stores of earlier versions."""
    schema = schema_of(store)
    return None if schema is None else PreparedRules.of(schema)


def split_rule_of(store: ScenarioStore) -> str:
    """Return the split rule of a store as text, without names of columns, which sites need not share; else empty."""
    rules = rules_of(store)
    if rules is None:
        return ""
    ((rule, document),) = ((key, value) for key, value in rules.split.items() if key not in ("users", "times"))
    named = document | {key: "..." for key in ("column", "key") if key in document}
    return flow_yaml({rule: named})


def schema_of(store: ScenarioStore) -> DatasetSchema | None:
    """Return the schema under which a store was prepared; None for made-up rows and stores of earlier versions."""
    return _schema_in(store.folder) if SCHEMA_NAME in store.attached else None


@lru_cache(maxsize=256)
def _schema_in(folder: Path) -> DatasetSchema | None:
    try:
        return load_schema(folder / SCHEMA_NAME)
    except UserError as error:  # a key of another version
        logger.debug("schema unknown: %s", error)
        return None


def refuse_other_rules(dataset: str, rules: Mapping[str, PreparedRules | None]) -> None:
    """Check that scenarios were prepared under the same rules.

    Parameters
    ----------
    dataset
        Name of the data set.
    rules
        Rules by scenario; None where they are not known.

    Raises
    ------
    UserError
        Two scenarios differ. The message names both, the rule and the command that prepares them.
    """
    distinct: list[tuple[str, PreparedRules]] = []
    for name, own in sorted(rules.items()):
        if own is not None and all(own != other for _, other in distinct):
            distinct.append((name, own))
    for (one, mine), (other, theirs) in combinations(distinct, 2):
        if (found := mine.difference(theirs)) is not None:
            rule, here, there = found
            raise UserError(
                f"scenarios {one} and {other} were prepared under different {rule} rules ({one}: {here}; "
                f"{other}: {there}): prepare all scenarios with one schema, `pfmsmtrec prepare {dataset} --source DIR` "
                "(or the path of the schema's file), or choose with federation.scenarios"
            )
