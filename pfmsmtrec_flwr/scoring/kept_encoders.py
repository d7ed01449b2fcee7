"""Encoders beside a saved model, so that its folder alone can score raw rows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pfmsmtrec_flwr.data.schema.document import SCHEMA_NAME
from pfmsmtrec_flwr.data.store.manifest import ENCODERS_NAME, VOCABULARIES_NAME
from pfmsmtrec_flwr.data.store.reader import ScenarioStore

ENCODER_FILES = (ENCODERS_NAME, SCHEMA_NAME, VOCABULARIES_NAME)
"""Names of the files of the encoders; the last one is there only if a field has learned a vocabulary."""
MADE_UP = "its rows were made up, and made-up data has no raw rows"
WITHOUT_ENCODERS = (
    "its data was prepared by an earlier version, which kept no encoders: prepare the data anew, and train again"
)
REPLACED = "its data was prepared anew while it trained: train again"


def keep_encoders(store: ScenarioStore, folder: Path) -> str:
    """Put the encoders of a store beside a model.

    A file is a hard link to that of the store where both lie on one disk, else a copy: large vocabularies take no space
    twice, and stay when the store is prepared anew or removed.

    Parameters
    ----------
    store
        Prepared data on which the model was trained.
    folder
        Folder of the model.

    Returns
    -------
    str
        Reason why the model cannot score raw rows; empty if the encoders are there.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    for name in ENCODER_FILES:
        (folder / name).unlink(missing_ok=True)  # never written over, as it may be a link to a store's file
    if not store.attached:
        return MADE_UP if "synthetic" in store.extra else WITHOUT_ENCODERS
    try:
        for name in store.attached:
            _link(store.folder / name, folder / name)
    except FileNotFoundError:
        return REPLACED
    return ""


def _link(file: Path, link: Path) -> None:
    try:
        os.link(file, link)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(file, link)
