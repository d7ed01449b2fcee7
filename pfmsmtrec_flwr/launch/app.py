"""Folder and run configuration of the Flower app."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.places import top_folder

Setting = str | int | float | bool


def app_folder() -> Path:
    """Return the folder of this project's Flower app: the checkout, or the files that a wheel carries.

    Raises
    ------
    UserError
        The package was copied without them.
    """
    folder = top_folder()
    if not (folder / "pyproject.toml").is_file() or not (folder / "server_app.py").is_file():
        raise UserError(
            f"no Flower app at {folder}: the package was copied without its app; "
            "install its wheel, or clone the repository and `pip install -e .` in it"
        )
    return folder


def write_run_config(path: Path, settings: Mapping[str, Setting]) -> None:
    """Write an app's run configuration as a TOML file."""
    path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in settings.items()), encoding="utf-8")


def _toml(value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # JSON strings are TOML strings, with two exceptions: surrogate pairs (so non-ASCII stays unescaped) and DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
