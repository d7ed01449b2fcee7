"""Private home of one Flower daemon: a folder, and the end of every process that was started with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pfmsmtrec_flwr.flower_internals import HOME_VARIABLE
from pfmsmtrec_flwr.launch.interrupts import uninterrupted
from pfmsmtrec_flwr.launch.processes import end_family
from pfmsmtrec_flwr.log import logger


@contextmanager
def private_home() -> Iterator[Path]:
    """Make a folder for Flower; afterwards end all processes that carry its path, and remove it."""
    home = Path(tempfile.mkdtemp(prefix="pfmsmtrec-")).resolve()
    try:
        yield home
    finally:
        with uninterrupted():
            if not end_family(str(home)):
                logger.warning("some of Flower's processes did not end; find them by %s=%s", HOME_VARIABLE, home)
            shutil.rmtree(home, ignore_errors=True)
