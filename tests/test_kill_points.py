"""Some of the points of `benchmarks/kill_points.py`: a run that was broken off there ends as one that was not."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from benchmark_scripts import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("kill_points")


@pytest.fixture(scope="module")
def world(script: ModuleType) -> Iterator[Any]:
    with script.temporary_world() as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize(("mode", "operation"), [("kill", 90), ("kill", 150), ("client", 60), ("full", 120)])
def test_a_run_that_is_broken_off_ends_as_one_that_was_not(world: Any, mode: str, operation: int) -> None:
    assert world.differs(mode, operation) == ""


@pytest.mark.long
def test_the_comparison_sees_a_difference(world: Any, script: ModuleType) -> None:
    before = script.contents(world.root / "whole")
    assert {
        "results.json",
        "metrics.jsonl",
        "alone/results.json",
        "clients/alone/NL/model.safetensors",
    } <= before.keys()
    path = world.root / "whole" / "clients" / "alone" / "NL" / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert script.contents(world.root / "whole") != before
    path.write_bytes(content)
