"""Finding stores below a data folder."""

from __future__ import annotations

from pathlib import Path

from written_stores import written

from pfmsmtrec_flwr.data.store.listing import list_scenarios


def test_list_scenarios_is_sorted_and_skips_what_is_no_store(tmp_path: Path) -> None:
    for name in ("US", "ES"):
        written(tmp_path / "shop" / name)
    (tmp_path / "shop" / ".FR.x.tmp").mkdir()
    (tmp_path / "shop" / "notes").mkdir()
    assert [each.scenario for each in list_scenarios(tmp_path, "shop")] == ["ES", "US"]
    assert list_scenarios(tmp_path, "other") == []
