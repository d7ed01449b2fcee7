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
    fedamp,
    fedavg,
    fedbn,
    fedhca2,
    fedper,
    fedprox,
    fedrep,
    floor,
    pf_msmtrec,
    pooled,
)
from pfmsmtrec_flwr.methods.base import CentralMethod, FederatedMethod, Method

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        *floor.METHODS,
        alone.METHOD,
        *alone_models.METHODS,
        *pooled.METHODS,
        fedavg.METHOD,
        fedprox.METHOD,
        fedbn.METHOD,
        fedper.METHOD,
        fedrep.METHOD,
        ditto.METHOD,
        apfl.METHOD,
        fedamp.METHOD,
        fedhca2.METHOD,
        pf_msmtrec.METHOD,
    )
}


def find_method(name: str) -> Method:
    """Return the method of that name.

    Raises
    ------
    UserError
        There is none; the message lists all.
    """
    if name not in METHODS:
        raise UserError(f"unknown method '{name}', expected one of {', '.join(METHODS)}")
    return METHODS[name]


def federated_method(name: str) -> FederatedMethod:
    """Return the method of that name, which must be one that exchanges messages.

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
    """Return the kind of client that a method has.

    Raises
    ------
    UserError
        There is no such method, or it has no clients.
    """
    return federated_method(name).client


__all__ = ["METHODS", "CentralMethod", "FederatedMethod", "Method", "client_of", "federated_method", "find_method"]
