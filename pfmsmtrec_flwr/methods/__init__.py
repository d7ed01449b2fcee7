"""Methods, one short file each, by name."""

from __future__ import annotations

from collections.abc import Mapping

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import alone, fedavg, fedbn, pf_msmtrec
from pfmsmtrec_flwr.methods.base import Method

METHODS: Mapping[str, Method] = {
    method.name: method for method in (alone.METHOD, fedavg.METHOD, fedbn.METHOD, pf_msmtrec.METHOD)
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


__all__ = ["METHODS", "Method", "find_method"]
