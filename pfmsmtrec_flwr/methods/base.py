"""What a method is to the rest of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pfmsmtrec_flwr.config import MethodSettings, RunConfig, Settings, Value
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.training.records import RoundCallback, TrainingResult

Family = Literal["floor", "alone", "pooled", "federated"]


@dataclass(frozen=True, slots=True)
class Range:
    """Interval of numbers to tune a setting in, ends included.

    Attributes
    ----------
    low, high
        Ends.
    log
        Whether equal ratios are equally likely, rather than equal differences.
    """

    low: float
    high: float
    log: bool = False

    def __iter__(self) -> Iterator[float]:
        """Return the ends."""
        return iter((self.low, self.high))

    def including(self, value: float) -> Range:
        """Return the smallest interval that has this one and a value in it.

        >>> Range(0.0, 0.5).including(0.6)
        Range(low=0.0, high=0.6, log=False)
        """
        return Range(min(self.low, value), max(self.high, value), self.log)


Space = Mapping[str, tuple[Value, ...] | Range]
"""Values to choose from, by key: a dotted key is a common setting, another is the method's own."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One part of a method turned to another value, for an ablation.

    Attributes
    ----------
    name
        Name of the switch in tables.
    settings
        Settings that differ, by key as under ``methods``.
    what
        Their effect, in a few words.
    """

    name: str
    settings: Mapping[str, Value]
    what: str


def no_switches(config: RunConfig) -> Iterable[Switch]:  # noqa: ARG001 - the same for every configuration
    """Return no switch: the method has no parts to turn."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to get a model for each scenario.

    Attributes
    ----------
    name
        Name in the configuration.
    summary
        Description in one line.
    source
        Publication that describes the method.
    family
        ``floor``: no neural model; ``alone``: nothing is shared; ``pooled``: all rows in one place, which a federation
        may not do; ``federated``.
    parameters
        Whether scenarios end with parameters of their own, or all with the same.
    settings
        Settings of the method itself; in a configuration they lie under ``methods`` and the method's name.
    fixed
        Common settings that make the method what it is, by dotted key; the configuration does not change them.
    space
        Settings to tune beside those that all networks have, each with the values or the range to choose from.
    switches
        Parts of the method that an ablation turns, under a configuration.
    file
        File that defines the method, as the configuration names it; empty for a method of the package.
    """

    name: str
    summary: str
    source: str
    family: Family
    parameters: Literal["personalised", "global"]
    settings: type[MethodSettings] = MethodSettings
    fixed: Mapping[str, Value] = field(default_factory=dict)
    space: Space = field(default_factory=dict)
    switches: Callable[[RunConfig], Iterable[Switch]] = no_switches
    file: str = ""

    def configure(self, config: RunConfig) -> RunConfig:
        """Return the configuration under which this method runs: its settings in force, its own with their defaults.

        Raises
        ------
        UserError
            One of these settings is unknown or impossible.
        """
        own = config.for_method(self.name)
        settings = own.own(self.settings)
        return own.with_own({**settings.model_dump(), **settings.implied(), **self.fixed}, f"method {self.name}")

    def own_settings(self, config: RunConfig) -> Settings:
        """Return the values of the settings of the method itself, defaults included.

        Raises
        ------
        UserError
            One of these settings is unknown or impossible.
        """
        return config.for_method(self.name).own(self.settings).model_dump()


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedMethod(Method):
    """A method that exchanges messages, if only to be measured.

    Attributes
    ----------
    strategy
        Class of the server's side.
    client
        Class of the scenarios' side.
    no_start
        Reason why no run can start from saved models of this method; empty if one can.
    """

    family: Family = "federated"
    strategy: type[ScenarioStrategy]
    client: type[ScenarioClient] = ScenarioClient
    no_start: str = ""

    def make_strategy(
        self, config: RunConfig, on_round: RoundCallback | None = None, start_from: str = ""
    ) -> ScenarioStrategy:
        """Return the server's side under the method's own configuration; its orders name the method's file.

        Parameters
        ----------
        config
            Configuration of the method.
        on_round
            Function that is called once per round.
        start_from
            Run from whose models the scenarios start; empty if they start anew.
        """
        strategy = self.strategy(config, on_round=on_round)
        strategy.method_file = self.file
        strategy.start_from = start_from
        return strategy


Trainer = Callable[[RunConfig, Sequence[ScenarioStore], RoundCallback | None], TrainingResult]
"""Trains on the scenarios' rows, calls back once per round, and returns what a federation would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CentralMethod(Method):
    """A method that sees the rows themselves, and so runs in one process only.

    Attributes
    ----------
    train
        Function that trains.
    """

    train: Trainer
