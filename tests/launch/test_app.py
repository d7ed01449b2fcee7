from __future__ import annotations

import io
import tomllib
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.launch.app import app_folder, write_run_config


def test_an_install_without_its_checkout_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pfmsmtrec_flwr.places._PACKAGE", tmp_path / "pfmsmtrec_flwr")
    with pytest.raises(UserError, match=r"clone the repository and `pip install -e \.` in it$"):
        app_folder()


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern")  # Flower's own use of pathspec
def test_the_bundle_that_flower_builds_has_every_file_that_the_package_reads() -> None:
    top = app_folder()
    bundle = zipfile.ZipFile(io.BytesIO(build_fab_from_disk(top)))
    package = {file for file in (top / "pfmsmtrec_flwr").rglob("*") if file.is_file() and file.suffix != ".pyc"}
    wanted = {*package, *(top / "conf").iterdir(), *(top / "datasets").iterdir()}
    wanted |= {top / name for name in ("client_app.py", "server_app.py", "pyproject.toml", "LICENSE")}
    missing = {file.relative_to(top).as_posix() for file in wanted} - set(bundle.namelist())
    assert missing == {"pfmsmtrec_flwr/py.typed"}  # a marker for type checkers alone


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
