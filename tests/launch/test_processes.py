from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from pfmsmtrec_flwr.launch.processes import end_family, family


def test_a_detached_family_is_found_by_its_marker_and_ended(tmp_path: Path) -> None:
    marker = str(tmp_path / "private")
    # The child clears its environment, so that only its parent gives it away; both ignore the polite request.
    child = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    parent = (
        "import signal, subprocess, sys, time; signal.signal(15, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], env={{}}, start_new_session=True)\ntime.sleep(600)"
    )
    environment = os.environ | {"MARKER": marker}
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = family(marker)
        assert process.pid in found
        assert len(found) == 2
        assert end_family(marker, grace=0.3)
        assert family(marker) == set()
        for pid in found - {process.pid}:
            stat = Path(f"/proc/{pid}/stat")
            assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_ending_nobody_takes_no_time(tmp_path: Path) -> None:
    began = time.monotonic()
    assert end_family(str(tmp_path / "nobody"))
    assert time.monotonic() - began < 2
