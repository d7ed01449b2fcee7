"""Version of this package that is installed on a machine, beside that of the code which a run brings."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pfmsmtrec_flwr
from pfmsmtrec_flwr.errors import UserError

PACKAGE = "pfmsmtrec-flwr"


def installed_version() -> str:
    """Return the version that is installed; empty if none is."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""


def refuse_other_code() -> None:
    """Refuse an app that brings code of another version than the one that is installed here, with its requirements.

    Raises
    ------
    UserError
        The versions differ.
    """
    installed, brought = installed_version(), pfmsmtrec_flwr.__version__
    if installed and installed != brought:
        raise UserError(
            f"the app brings {PACKAGE} {brought}, and this node has {installed} installed: install the same version"
        )
