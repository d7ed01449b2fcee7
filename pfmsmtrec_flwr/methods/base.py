"""What a method is to the rest of the project."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pfmsmtrec_flwr.config import RunConfig, Value
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.outcome import FederationResult
from pfmsmtrec_flwr.federation.server.strategy import RoundCallback, ScenarioStrategy

Family = Literal["floor", "alone", "pooled", "federated"]
Space = Mapping[str, tuple[Value, ...]]
"""Values to choose from, by dotted key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to get a model for each scenario.

    Attributes
    ----------
    name
        As in the configuration.
    summary
        One line.
    source
        Where it is described.
    family
        ``floor``: no neural model; ``alone``: nothing is shared; ``pooled``: all rows in one place, which a federation
        may not do; ``federated``.
    parameters
        Whether scenarios end with parameters of their own, or all with the same.
    settings
        What makes the method what it is, by dotted key; the configuration does not change it.
    space
        What there is to tune beside the settings that all methods have.
    """

    name: str
    summary: str
    source: str
    family: Family
    parameters: Literal["personalised", "global"]
    settings: Mapping[str, Value] = field(default_factory=dict)
    space: Space = field(default_factory=dict)

    def configure(self, config: RunConfig) -> RunConfig:
        """Return the configuration under which this method runs: its own settings in force.

        Raises
        ------
        UserError
            One of these settings is unknown or impossible.
        """
        return config.for_method(self.name).with_settings(self.settings, f"method {self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedMethod(Method):
    """A method that exchanges messages, if only to be measured.

    Attributes
    ----------
    strategy
        Its server.
    client
        Its scenarios' side.
    """

    family: Family = "federated"
    strategy: type[ScenarioStrategy]
    client: type[ScenarioClient] = ScenarioClient


Trainer = Callable[[RunConfig, Sequence[ScenarioStore], RoundCallback | None], FederationResult]
"""Trains on the scenarios' rows, calls back once per round, and returns what a federation would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CentralMethod(Method):
    """A method that sees the rows themselves, and so runs in one process only.

    Attributes
    ----------
    train
        Does it.
    """

    train: Trainer
