"""Progress bars of long steps, on standard error if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pfmsmtrec_flwr.data.read.blocks import Advance, ignore


@contextmanager
def progress_bar(
    title: str, total: int, *, wanted: bool, unit: Literal["bytes", "rows"] = "bytes"
) -> Iterator[Advance]:
    """Show a bar while the block runs.

    Parameters
    ----------
    title
        Name of the step.
    total
        Total number of bytes or rows.
    wanted
        Show a bar. None is shown if standard error is not a terminal.
    unit
        Unit that is counted.
    """
    if not wanted or not sys.stderr.isatty():
        yield ignore
        return
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    shown = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda step: bar.advance(task, step)
