"""Findings about days: held-out rows of days of training, and held-out days that differ between scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pfmsmtrec_flwr.data.check.findings import Finding
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore

_HELD_OUT = SPLITS[1:]


def findings_of_days(stores: Sequence[ScenarioStore]) -> Iterator[Finding]:
    """Yield the findings about the days of all scenarios, as preparation recorded them."""
    for store in stores:
        yield from _shared_days(store)
    yield from _other_days(stores)


def _shared_days(store: ScenarioStore) -> Iterator[Finding]:
    """Yield held-out rows of days of training: a leak of files that should not share days, else a remark."""
    days: Any = store.extra.get("days")
    rule: Any = store.extra.get("split")
    if not days or not rule:
        return
    splits = days["splits"]
    shared = {name: int(splits[name]["days_of_training"]) for name in _HELD_OUT if name in splits}
    if any(shared.values()):
        shares = " and ".join(f"{count / len(store.splits[name]):.0%} of {name}" for name, count in shared.items())
        figure = f"{shares} rows have days of training"
        rows, by_file = sum(shared.values()), "by_file" in rule
        yield Finding(store.scenario, str(days["column"]), figure, rows, "split by_date", leak=by_file)


def _other_days(stores: Sequence[ScenarioStore]) -> Iterator[Finding]:
    """Yield the scenarios whose held-out days are not those of the first."""
    rules: list[tuple[ScenarioStore, Any]] = [(store, store.extra.get("split")) for store in stores]
    dated = [(store, rule) for store, rule in rules if rule and "by_date" in rule]
    for store, rule in dated[1:]:
        first, reference = dated[0]
        for name in _HELD_OUT:
            if rule[name] != reference[name]:
                mine, theirs = (", ".join(map(str, each[name])) for each in (rule, reference))
                figure = f"{name} is {mine}, and {theirs} in {first.scenario}"
                rows = len(store.splits[name])
                yield Finding(store.scenario, rule["by_date"], figure, rows, "name days for all", leak=False)
