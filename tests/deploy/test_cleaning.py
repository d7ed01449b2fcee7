"""What ended runs left at a site is removed; running ones and finished models stay."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deployed import deployment

from pfmsmtrec_flwr.deploy import initializing
from pfmsmtrec_flwr.deploy.cleaning import leftovers
from pfmsmtrec_flwr.deploy.initializing import write_deployment
from pfmsmtrec_flwr.errors import UserError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with an ended run, a failed one, and one that goes on."""
    monkeypatch.setattr(initializing, "approved_text", lambda: "")
    write_deployment(deployment(tmp_path), tmp_path)
    site = tmp_path / "sites/NL"
    for run, names in {"1": ("model", "state-4"), "2": ("state-1", "evaluated-1"), "3": ("state-1",)}.items():
        folder = site / "state" / run / "pf-msmtrec" / "NL"
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.safetensors").write_bytes(b"12345")
    old = time.time() - 9 * 86400
    for run in ("1", "2"):
        for path in [*(site / "state" / run).rglob("*"), site / "state" / run]:
            os.utime(path, (old, old))
    return site


def names(site: Path) -> set[str]:
    return {str(path.relative_to(site / "state")) for path in (site / "state").rglob("*.safetensors")}


def test_only_what_is_left_of_ended_runs_goes(site: Path) -> None:
    assert leftovers(site, idle_days=10) == []
    found = leftovers(site, idle_days=7)
    assert [left.size for left in found] == [5, 10]
    for left in found:
        left.remove()
    assert names(site) == {"1/pf-msmtrec/NL/model.safetensors", "3/pf-msmtrec/NL/state-1.safetensors"}
    assert not (site / "state/2").exists()
    assert leftovers(site, idle_days=1) == []


def test_one_young_file_keeps_a_run(site: Path) -> None:
    (site / "state/2/pf-msmtrec/NL/state-2.safetensors").write_bytes(b"1")
    assert {left.path.parts[-4] for left in leftovers(site, idle_days=7)} == {"1"}


def test_a_run_may_go_on_for_hours_without_a_file(site: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected 1 at least"):
        leftovers(site, idle_days=0.5)
    with pytest.raises(UserError, match="is no site with a state folder"):
        leftovers(tmp_path / "server", idle_days=7)


def test_a_dry_run_removes_nothing(site: Path, pfmsmtrec: Callable[..., int]) -> None:
    before = names(site)
    assert pfmsmtrec("deploy", "clean", site, "--dry-run") == 0
    assert names(site) == before
    assert pfmsmtrec("deploy", "clean", site) == 0
    assert len(names(site)) == len(before) - 3
