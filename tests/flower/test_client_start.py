"""What a client process begins with, and what it imports before its first order: there is one for every message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pfmsmtrec_flwr.flower_internals import CLIENT_IMPORTS, HOME_VARIABLE, OBJECT_WAITS
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
    assert set(CLIENT_IMPORTS) <= modules
    assert not {module for module in modules if module.startswith("pfmsmtrec_flwr")}


def test_measuring_needs_no_scikit_learn() -> None:
    code = (
        "import sys, numpy as np; from pfmsmtrec_flwr.training.metrics import task_metrics; "
        "labels = np.array([0, 1, 1, 0], dtype=np.uint8); users = np.array([1, 1, 2, 2]); "
        "task_metrics(labels, np.array([0.1, 0.4, 0.2, 0.3], dtype=np.float32), users); "
        f"print(*sorted(({UNUSED!r} - {{'scipy'}}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=top_folder(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


FAKE_CLIENT = """
import contextlib, json, pathlib, sys
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supernode.runtime import run_clientapp as client

def install(content, skip_prompt):
    calls.append(content.decode())
    folder = pathlib.Path(sys.argv[1]) / "apps" / f"a.b.1.{content.decode()}"
    folder.mkdir(parents=True, exist_ok=True)
    if len(calls) == 1:
        raise OSError("the disk is full")
    return folder

def run(*arguments):
    for bundle in (b"half", b"half", b"one", b"one", b"two"):
        with contextlib.suppress(OSError):
            client.install_from_fab(bundle, skip_prompt=True)
    own = [name for name in sys.modules if name.startswith("pfmsmtrec_flwr")]
    print(json.dumps([list(arguments), calls, own, pull_objects.__kwdefaults__["initial_backoff"]]))

calls = []
client.install_from_fab, client.run_clientapp = install, run
from pfmsmtrec_flwr.flower_internals import run_client
run_client("address", 7)
"""


def test_a_client_process_installs_a_bundle_once_and_leaves_this_package_to_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAKE_CLIENT, str(tmp_path)],
        cwd=top_folder(),
        env=os.environ | {HOME_VARIABLE: str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [
        ["address", 7],
        ["half", "half", "one", "two"],
        [],
        OBJECT_WAITS["initial_backoff"],
    ]
