"""What a client process imports before its first order: a deployed node starts one for every message."""

from __future__ import annotations

import subprocess
import sys

from pfmsmtrec_flwr.places import top_folder

UNUSED = {"lightgbm", "matplotlib", "optuna", "pandas", "pyarrow", "ray", "scipy", "sklearn", "typer"}
"""Packages of seconds and hundreds of megabytes that no order to start or to train needs at once."""


def test_a_client_process_imports_nothing_large_but_torch_and_flower() -> None:
    code = (
        "import sys, torch, flwr.clientapp; base = set(sys.modules); import client_app; "
        f"print(*sorted(({UNUSED!r} & set(sys.modules)) - base))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=top_folder(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
