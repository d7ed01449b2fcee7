"""TensorBoard: event files in the run's own folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from pfmsmtrec_flwr.config import Value
from pfmsmtrec_flwr.tracking.tracker import Tracker

EVENTS_NAME = "tensorboard"


class TensorBoardTracker(Tracker):
    """Run in TensorBoard: ``tensorboard --logdir RUNS`` shows all runs below a folder."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder / EVENTS_NAME))

    def log_settings(self, settings: Mapping[str, Value]) -> None:
        """Keep the settings as a table."""
        lines = ["| setting | value |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in settings.items())]
        self._writer.add_text("settings", "\n".join(lines), 0)

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Keep the figures as scalars."""
        for key, value in figures.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def log_file(self, path: Path) -> None:
        """Name the file, which lies beside the events."""
        self._writer.add_text("files", str(path), 0)

    def close(self, *, failed: bool) -> None:
        """End the run with a word on how it ended."""
        self._writer.add_text("outcome", "failed" if failed else "finished", 0)
        self._writer.close()
