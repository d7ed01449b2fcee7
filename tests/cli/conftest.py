"""Flower's engine replaced by a stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest
from faked_flower import FakeFlower


@pytest.fixture
def flower(monkeypatch: pytest.MonkeyPatch) -> FakeFlower:
    fake = FakeFlower()
    monkeypatch.setattr("pfmsmtrec_flwr.launch.engine.run_on_flower", fake)
    monkeypatch.setattr("pfmsmtrec_flwr.launch.app.app_folder", lambda: Path("/the/app"))
    return fake
