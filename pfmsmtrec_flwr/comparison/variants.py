"""Variants that a comparison runs: methods, and PF-MSMTrec with one switch turned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pfmsmtrec_flwr.config import RunConfig, Value
from pfmsmtrec_flwr.methods import find_method

ABLATED = "pf-msmtrec"
"""Method whose switches are turned one by one."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A method under settings of its own.

    Attributes
    ----------
    name
        Name in tables; the method's name if nothing differs from it.
    method
        Name of the method that runs.
    settings
        Settings that differ from the method's, by key as under ``methods``.
    what
        The difference in words; empty if there is none.
    """

    name: str
    method: str
    settings: Mapping[str, Value] = field(default_factory=dict)
    what: str = ""


def safe_name(name: str) -> str:
    """Return a name without characters that a file system may refuse.

    >>> safe_name("pf-msmtrec: no pull")
    'pf-msmtrec-no-pull'
    """
    return re.sub(r"[^a-z0-9_.]+", "-", name.lower()).strip("-.") or "-"


def ablations(config: RunConfig) -> tuple[Variant, ...]:
    """Return PF-MSMTrec with one switch turned, for each switch that is not where it would be turned to.

    Parameters
    ----------
    config
        Configuration under which PF-MSMTrec itself runs.
    """
    method = find_method(ABLATED)
    config = method.configure(config)
    turned = ((switch, config.with_own(switch.settings, switch.name)) for switch in method.switches(config))
    return tuple(
        Variant(f"{ABLATED}: {switch.name}", ABLATED, switch.settings, switch.what)
        for switch, other in turned
        if other != config
    )
