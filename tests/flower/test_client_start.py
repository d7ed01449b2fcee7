"""What a client process begins with, and what it imports before its first order: there is one for every message."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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


def test_a_ready_process_has_torch_and_nothing_of_this_package(tmp_path: Path) -> None:
    script, found = tmp_path / "script.py", tmp_path / "found.json"
    script.write_text(f"import json, sys, pathlib; pathlib.Path({str(found)!r}).write_text(json.dumps([*sys.modules]))")
    code = (
        "import runpy; from pfmsmtrec_flwr.flower_internals import ready_processes; "
        f"child = ready_processes().Process(target=runpy.run_path, args=({str(script)!r},)); "
        "child.start(); child.join()"
    )
    subprocess.run([sys.executable, "-P", "-c", code], cwd=top_folder(), check=True)
    modules = set(json.loads(found.read_text()))
    assert {"torch", "safetensors.torch", "flwr.clientapp", "flwr.supernode.runtime.run_clientapp"} <= modules
    assert not {module for module in modules if module.startswith("pfmsmtrec_flwr")}
