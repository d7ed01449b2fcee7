"""Scenarios that a schema no longer has are moved aside, whole, and never over one another."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from written_stores import written

from pfmsmtrec_flwr.data.store.listing import list_scenarios
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.set_aside import set_aside_others


def test_a_scenario_without_schema_is_moved_and_can_be_moved_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "shop"
    for name in ("DE", "NL"):
        written(folder / name)
    (folder / "notes").mkdir()
    with caplog.at_level(logging.WARNING):
        (moved,) = set_aside_others(folder, ["NL"])
    assert moved == folder / ".set-aside" / "DE"
    assert "scenario DE is not in the schema any more" in caplog.text
    assert str(moved) in caplog.text
    assert [store.scenario for store in list_scenarios(tmp_path, "shop")] == ["NL"]
    assert (folder / "notes").is_dir()
    assert len(ScenarioStore.open(moved, verify=True).splits["train"]) == 12
    assert set_aside_others(folder, ["NL"]) == []
    moved.rename(folder / "DE")
    assert [store.scenario for store in list_scenarios(tmp_path, "shop")] == ["DE", "NL"]


def test_a_second_one_of_the_same_name_lies_beside_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    for first in (0, 100, 200):
        written(folder / "DE", first=first)
        set_aside_others(folder, [])
    moved = [ScenarioStore.open(folder / ".set-aside" / name) for name in ("DE", "DE-2", "DE-3")]
    assert [store.splits["train"].numeric[0, 0] for store in moved] == [0, 25, 50]
