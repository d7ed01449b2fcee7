"""Prepared scenarios that their schema no longer has: they are moved aside, and never deleted.

They lie in ``<data_root>/<dataset>/.set-aside/<scenario>/``; no listing looks into that folder.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from pathlib import Path

from pfmsmtrec_flwr.data.store.disk import clear_errors
from pfmsmtrec_flwr.data.store.listing import is_store
from pfmsmtrec_flwr.log import logger

SET_ASIDE = ".set-aside"


def set_aside_others(folder: Path, names: Collection[str]) -> list[Path]:
    """Move the stores of all other scenarios aside, and say so in the log.

    Parameters
    ----------
    folder
        Folder of a data set, with a folder per scenario.
    names
        Names of the scenarios that stay.

    Returns
    -------
    The folders in which the stores now lie.

    Raises
    ------
    UserError
        A folder cannot be moved.
    """
    others = [child for child in sorted(folder.iterdir()) if child.name not in names and not child.name.startswith(".")]
    moved = []
    for store in filter(is_store, others):
        target = _free(folder / SET_ASIDE / store.name)
        with clear_errors(target):
            target.parent.mkdir(exist_ok=True)
            store.rename(target)
        logger.warning(
            "scenario %s is not in the schema any more: its prepared rows were set aside in %s, and take part no more",
            store.name,
            target,
        )
        moved.append(target)
    return moved


def _free(path: Path) -> Path:
    """Return a path that does not exist: this one, or one with a number behind it."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return path if not path.exists() else next(each for each in numbered if not each.exists())
