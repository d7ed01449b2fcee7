"""Methods, one short file each, by name."""

from __future__ import annotations

from collections.abc import Mapping

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.methods import (
    alone,
    alone_models,
    apfl,
    ditto,
    fedala,
    fedamp,
    fedavg,
    fedbn,
    fedhca2,
    fedper,
    fedprox,
    fedrep,
    floor,
    mat_fl,
    mr_mtl,
    pf_msmtrec,
    pooled,
)
from pfmsmtrec_flwr.methods.base import CentralMethod, FederatedMethod, Method
from pfmsmtrec_flwr.methods.files import is_method_file, load_method
from pfmsmtrec_flwr.methods.foreign import announced_method
from pfmsmtrec_flwr.plugins import METHODS_GROUP, Catalog
from pfmsmtrec_flwr.validation import alternatives, close_keys

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        *floor.METHODS,
        alone.METHOD,
        *alone_models.METHODS,
        *pooled.METHODS,
        *fedavg.METHODS,
        fedprox.METHOD,
        fedbn.METHOD,
        fedper.METHOD,
        fedrep.METHOD,
        ditto.METHOD,
        mr_mtl.METHOD,
        apfl.METHOD,
        fedala.METHOD,
        fedamp.METHOD,
        mat_fl.METHOD,
        fedhca2.METHOD,
        pf_msmtrec.METHOD,
    )
}
"""Methods of this package."""

KNOWN_METHODS: Catalog[Method] = Catalog("method", METHODS_GROUP, METHODS, announced_method)
"""Methods of this package and of other installed ones."""


def find_method(name: str) -> Method:
    """Return the method of a name, or the one that a Python file defines as `METHOD`.

    Parameters
    ----------
    name
        Name of a method, name of a file next to `client_app.py`, or absolute path of a file; a file ends in ``.py``.

    Raises
    ------
    UserError
        There is no such method, and the message lists all; the file defines none; or two packages have the name, or
        the one that has it cannot be imported.
    """
    if is_method_file(name):
        return load_method(name, KNOWN_METHODS)
    if name not in KNOWN_METHODS:
        close = close_keys(name, list(KNOWN_METHODS))
        hint = f"; did you mean {alternatives(close)}?" if close else ""
        raise UserError(f"unknown method '{name}', expected one of {', '.join(KNOWN_METHODS)}{hint}")
    return KNOWN_METHODS[name]


def federated_method(name: str) -> FederatedMethod:
    """Return the method of a name or file, which must be one that exchanges messages.

    Raises
    ------
    UserError
        There is none, or it needs the rows of all scenarios in one place.
    """
    method = find_method(name)
    if not isinstance(method, FederatedMethod):
        raise UserError(
            f"method '{name}' needs the rows of all scenarios in one place: run it with --engine inline, "
            "or with `pfmsmtrec compare`"
        )
    return method


def client_of(name: str) -> type[ScenarioClient]:
    """Return the class of the clients of a method, which a name or file stands for.

    Raises
    ------
    UserError
        There is no such method, or it has no clients.
    """
    return federated_method(name).client


__all__ = [
    "KNOWN_METHODS",
    "METHODS",
    "CentralMethod",
    "FederatedMethod",
    "Method",
    "client_of",
    "federated_method",
    "find_method",
]
