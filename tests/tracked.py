"""A tracker that keeps what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pfmsmtrec_flwr.config import Value
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.tracking.tracker import Tracker


class KeptTracker(Tracker):
    """Keeps what it gets."""

    def __init__(self, *, fails: bool = False, refuses: bool = False) -> None:
        self.settings: dict[str, Value] = {}
        self.figures: list[tuple[int, dict[str, float]]] = []
        self.files: list[str] = []
        self.failed: bool | None = None
        self.fails = fails
        self.refuses = refuses

    def log_settings(self, settings: Mapping[str, Value]) -> None:
        if self.refuses:
            raise UserError("no settings")
        self.settings = dict(settings)

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        if self.fails:
            raise UserError("no answer")
        self.figures.append((step, dict(figures)))

    def log_file(self, path: Path) -> None:
        self.files.append(path.name)

    def close(self, *, failed: bool) -> None:
        self.failed = failed
