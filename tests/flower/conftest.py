"""Flower as it is typed, and what has to come out; imports wait until a test needs them."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from real_flower import Expected, Flower


@pytest.fixture(scope="module")
def flower() -> Iterator[Flower]:
    """`flwr` with a home and a port of the file's own; all that it started has ended afterwards."""
    from real_flower import Flower

    from pfmsmtrec_flwr.launch.processes import end_family

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = int(probe.getsockname()[1])
    home = Path(tempfile.mkdtemp(prefix="fl-")).resolve()  # short: Ray's sockets lie deep below it
    environment = os.environ | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "FLWR_HOME": str(home),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_TMPDIR": str(home),
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("PYTHONPATH", None)
    try:
        yield Flower(home, environment)
    finally:
        assert end_family(str(home))
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """Four small made-up scenarios, and what the in-process grid makes of them."""
    from real_flower import CONF, Expected

    from pfmsmtrec_flwr.experiment import run_inline
    from pfmsmtrec_flwr.methods.configuration import load_config

    folder = tmp_path_factory.mktemp("inline")
    conf = folder / "conf.yaml"
    conf.write_text(CONF)
    config = load_config(str(conf))
    run_inline(config, data=folder / "data", output=folder / "out", num_supernodes=3)
    return Expected(conf, config, folder / "data", folder / "out")
