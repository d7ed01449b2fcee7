"""What a method is to the rest of the project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pfmsmtrec_flwr.federation.strategy import ScenarioStrategy


@dataclass(frozen=True, slots=True)
class Method:
    """A way to train the scenarios.

    Attributes
    ----------
    name
        As in the configuration.
    summary
        One line.
    source
        Where it is described.
    strategy
        Its server.
    parameters
        Whether scenarios end with parameters of their own, or all with the same.
    """

    name: str
    summary: str
    source: str
    strategy: type[ScenarioStrategy]
    parameters: Literal["personalised", "global"]
