"""The installed Flower, and whether its internal functions are those that the launchers hold on to."""

from __future__ import annotations

from importlib.metadata import version

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.flower_internals import MADE_FOR


def known_flower() -> str:
    """Return the version of Flower that is installed.

    Raises
    ------
    UserError
        It is none of those in which gate and list of bundles were seen to work.
    """
    installed = version("flwr")
    if installed.rpartition(".")[0] not in MADE_FOR:
        raise UserError(
            f"Flower {installed} is installed, and the gate and the list of bundles were made for "
            f"{', '.join(MADE_FOR)}: install one of these"
        )
    return installed
