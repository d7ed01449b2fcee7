from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.launch.app import app_folder, write_run_config


def test_an_install_without_its_checkout_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pfmsmtrec_flwr.places._PACKAGE", tmp_path / "pfmsmtrec_flwr")
    with pytest.raises(UserError, match=r"clone the repository and `pip install -e \.` in it$"):
        app_folder()


def test_a_run_configuration_is_read_as_it_was_written(tmp_path: Path) -> None:
    settings: dict[str, str | int | float | bool] = {
        "words": """it's "quoted", a=b [x] é \\ \x7f 🙂""",
        "flag": True,
        "count": 3,
        "share": 0.25,
    }
    path = tmp_path / "run-config.toml"
    write_run_config(path, settings)
    assert tomllib.loads(path.read_text(encoding="utf-8")) == settings
