"""Display and log file of a run while it trains."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pfmsmtrec_flwr.log import logger

if TYPE_CHECKING:
    from pfmsmtrec_flwr.config import RunConfig
    from pfmsmtrec_flwr.tracking import TrackerName

_POLL_SECONDS = 0.5


@contextmanager
def watched(
    config: RunConfig, folder: Path, console: Console, phase: Callable[[], str], track: TrackerName | None
) -> Iterator[Callable[[], None]]:
    """Show how far a run and its reference methods are, and let a tracker follow; yield the function that does both."""
    from pfmsmtrec_flwr.methods.configuration import methods_of
    from pfmsmtrec_flwr.results.progress import RunDisplay, RunWatch

    name, *references = (method.name for method in methods_of(config))
    with (
        followed(track, config, folder) as follow,
        RunDisplay(RunWatch(folder, name, references, opening=phase), console) as display,
    ):

        def update() -> None:
            display.update()
            follow()

        yield update


@contextmanager
def logged_to(file: Path) -> Iterator[None]:
    """Send the project's log lines to a file, where they do not cross the display."""
    handler = logging.FileHandler(file, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def followed(track: TrackerName | None, config: RunConfig, folder: Path) -> Iterator[Callable[[], None]]:
    """Let a tracker follow a run, if one is named; yield the function that passes on what is new."""
    if track is None:
        yield lambda: None
        return
    from pfmsmtrec_flwr.methods.configuration import complete, methods_of
    from pfmsmtrec_flwr.tracking import open_tracker
    from pfmsmtrec_flwr.tracking.following import RunFollower

    tracker = open_tracker(track, folder.name, config.data.name, folder)
    follower = RunFollower(tracker, complete(config), folder, [method.name for method in methods_of(config)[1:]])
    try:
        yield follower.update
    finally:
        follower.finish()


@contextmanager
def polled(update: Callable[[], None]) -> Iterator[None]:
    """Call a function from a thread every half second, while this one computes, and once at the end."""
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(_POLL_SECONDS):
            update()

    poller = threading.Thread(target=poll, name="progress", daemon=True)
    poller.start()
    try:
        yield
    finally:
        ended.set()
        poller.join()
    update()
