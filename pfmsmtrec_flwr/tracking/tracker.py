"""The interface that every experiment tracker has here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line names trackers without loading what computes
    from pfmsmtrec_flwr.config import Value


class Tracker(ABC):
    """Tracker of one run."""

    @abstractmethod
    def log_settings(self, settings: Mapping[str, Value]) -> None:
        """Keep the settings of the run by dotted key."""

    @abstractmethod
    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Keep figures of a round; the parts of a name are separated by slashes."""

    @abstractmethod
    def log_file(self, path: Path) -> None:
        """Keep a file."""

    @abstractmethod
    def close(self, *, failed: bool) -> None:
        """End the run."""
