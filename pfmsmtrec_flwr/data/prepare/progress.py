"""Progress bars of long steps, on standard error where that is a terminal."""

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
        What is done.
    total
        Of bytes or rows.
    wanted
        False shows nothing, as does standard error that is no terminal.
    unit
        What is counted.
    """
    if not wanted or not sys.stderr.isatty():
        yield ignore
        return
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    shown = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda step: bar.advance(task, step)
