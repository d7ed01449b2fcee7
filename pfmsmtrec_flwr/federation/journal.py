"""Journal of a site: what each of its scenarios answered, as lines of JSON beside the scenario's state.

It is for the site alone. Nobody sends it, and no training reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pfmsmtrec_flwr.federation.protocol import Order, Reply
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.private_files import FILE_MODE, make_private
from pfmsmtrec_flwr.scoring.saved_model import PARAMETERS_NAME

JOURNAL_NAME = "journal.jsonl"


def note_replies(folders: Mapping[str, Path], order: Order, replies: Mapping[str, Reply]) -> None:
    """Append a line for each scenario's reply to the journal in its folder.

    A journal that cannot be written costs a warning in the log, and no reply.

    Parameters
    ----------
    folders
        Folder of each scenario's state.
    order
        Order that was carried out.
    replies
        Reply of each scenario.
    """
    for name, folder in folders.items():
        entry = _entry(folder, order, replies[name])
        try:
            make_private(folder)
            path = folder / JOURNAL_NAME
            with open(path, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, FILE_MODE)) as file:
                file.write(json.dumps({"scenario": name, **entry}) + "\n")
        except OSError as error:
            logger.warning("scenario %s: its journal was not written: %s", name, error)


def _entry(folder: Path, order: Order, reply: Reply) -> dict[str, object]:
    entry: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": order.method,
        "round": order.round,
        "exchange": order.exchange,
        "stage": order.stage,
        "figures": dict(reply.figures),
        "error": reply.error,
    }
    finished = folder / PARAMETERS_NAME
    if any(figure.startswith("test.") for figure in reply.figures) and finished.is_file():
        entry["model"] = str(folder)
    return entry
