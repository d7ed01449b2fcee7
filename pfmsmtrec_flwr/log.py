"""The one logger of the project."""

from __future__ import annotations

import logging

logger = logging.getLogger("pfmsmtrec")


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the project's log lines to standard error, once per process."""
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(level)
