"""Malformed replies of `benchmarks/malformed_replies.py`: each is refused, and nobody else notices it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmark_scripts import load_script

SEVERAL = (
    "reply missing",
    "round -1",
    "figure loss.ctr missing",
    "figure examples 1e+18",
    "figure validation.auc.ctr 1.01",
    "of 500000 characters",
    "an error",
    "with nan",
    "with 1e+30",
    "of another byte order",
    "of type f8",
    "turned",
    "compressed",
    "a byte short",
    "an array is missing",
    "a row beyond the table",
    "all counts 2**31 - 1",
    "above one",
    "the answer to an earlier exchange",
)
"""Ends of the labels of changes of several kinds."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("malformed_replies")


@pytest.mark.parametrize("method", ["pf-msmtrec", "fedavg", "int8"])
def test_the_others_get_what_they_get_without_the_scenario(script: Any, tmp_path: Path, method: str) -> None:
    federations = script.Federations(method, tmp_path / "data", tmp_path / method)
    outcomes = [federations.honest, *federations.absent.values()]
    assert all(outcome.fingerprint for outcome in outcomes)
    assert len({outcome.fingerprint for outcome in outcomes}) == len(outcomes)  # an absence shows
    kinds = ["query.hello", "train.local", "train.local", "evaluate.validation", "evaluate.test"]
    assert [kind for _, kind in federations.exchanges()] == kinds
    sent = set()
    for number, kind in federations.exchanges():
        stale = federations.kept.exchanges[number - 1] if number > 1 else None
        changes = script.changes_of(federations.kept.exchanges[number], stale)
        for label, change in changes:
            if ends := [end for end in SEVERAL if label.endswith(end) and (kind, end) not in sent]:
                sent |= {(kind, end) for end in ends}
                assert federations.verdict(number, change) == "refused", label
    assert {end for _, end in sent} == set(SEVERAL)
    assert federations.verdict(1, lambda _: None) == "accepted"


@pytest.mark.long
@pytest.mark.parametrize(
    "method", ["pf-msmtrec", "bottom-up", "from-earlier", "half", "int8", "fedavg", "fedhca2", "fedamp"]
)
def test_a_tenth_of_all_malformed_replies_is_refused(script: Any, tmp_path: Path, method: str) -> None:
    found = list(script.examine(method, tmp_path / "data", tmp_path / method, share=0.1))
    assert [line for each in found for line in each.odd] == []
    assert sum(each.verdicts["refused"] for each in found) > 100
