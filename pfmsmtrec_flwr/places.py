"""Folder of the files that lie above the package: the Flower app, the configurations and the schemas."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def top_folder() -> Path:
    """Return the folder of `client_app.py`, `server_app.py`, `conf/` and `datasets/`.

    It is the one above the package in a checkout and in a bundle that Flower has built. A wheel carries these files
    inside the package.
    """
    carried = _PACKAGE / "app"
    return carried if carried.is_dir() else _PACKAGE.parent
