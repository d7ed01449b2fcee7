"""`pfmsmtrec export`: models beside the saved ones, or in a file of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scoring_shop import trained_shop


def test_every_model_of_a_run_or_one(
    pfmsmtrec: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained_shop(tmp_path / "shop")
    folders = [run / "clients" / "alone" / name for name in ("DE", "NL")]
    assert pfmsmtrec("export", run, "--format", "torch") == 0
    assert all((folder / "model.pt2").is_file() for folder in folders)
    assert f"wrote {folders[1] / 'model.pt2'}" in capsys.readouterr().out
    assert pfmsmtrec("export", folders[1], "--format", "torch", "--output", "nl.pt2") == 0
    assert Path("nl.pt2").is_file()
    assert pfmsmtrec("export", run, "--format", "torch", "--output", "nl.pt2") == 1
    assert "--output is for one model, and " in capsys.readouterr().err
