"""Exchange that too few scenarios have answered: those without a usable reply are asked again, a number of times."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from flwr.app import Message
from flwr.serverapp import Grid

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.server.exchange import exchange, messages_for
from pfmsmtrec_flwr.federation.server.lost_scenarios import find_lost
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.records import RoundRecord

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy

_LOOK_SECONDS = 1.0


class QuorumError(UserError):
    """Fewer scenarios than needed have sent a reply that counts.

    Attributes
    ----------
    missing
        Scenarios without such a reply.
    """

    def __init__(self, message: str, missing: Collection[str]) -> None:
        super().__init__(message)
        self.missing = missing


def exchange_until_quorum(
    strategy: ScenarioStrategy,
    grid: Grid,
    messages: Sequence[Message],
    record: RoundRecord,
) -> list[Message]:
    """Exchange messages; where fewer scenarios than needed have answered, ask the others again.

    A scenario that is asked again starts from the memory that the exchange before has left, so it answers as it would
    have the first time. Nothing is aggregated before enough have answered.

    Parameters
    ----------
    strategy
        Strategy whose scenarios are asked.
    grid
        Grid that carries the messages.
    messages
        Messages to the nodes.
    record
        Record of the round, to which traffic and waiting time are added.

    Returns
    -------
    list
        An empty list. The strategy's `admission` has read the nodes' answers and keeps what counts; each was dropped
        then, as together they take as much memory as all parameters.

    Raises
    ------
    UserError
        Too few scenarios have answered, however often they were asked.
    """
    settings = strategy.config.federation
    asking = messages
    for again in range(1, settings.retries + 2):
        answers = exchange(grid, asking, strategy.timeout, record, strategy.parameters)
        try:
            strategy.admission.of(_drained(answers))
            break
        except QuorumError as error:
            if again > settings.retries:
                raise UserError(f"{error}{_how_often(again)}") from None
            logger.warning("%s: asking again, %d of %d", error, again, settings.retries)
            _wait_for(strategy, error.missing)
            asking = messages_for(messages, {name: strategy.federation.hosts[name] for name in error.missing})
    return []


def _drained(messages: list[Message]) -> Iterator[Message]:
    """Yield messages, which the list does not hold any longer."""
    while messages:
        yield messages.pop()


def _how_often(asked: int) -> str:
    return f" (asked {asked} times; no model has changed in this exchange)" if asked > 1 else ""


def _wait_for(strategy: ScenarioStrategy, scenarios: Collection[str]) -> None:
    """Wait until the scenarios have nodes online, or the time is over: a node may be on its way back."""
    deadline = time.monotonic() + strategy.config.federation.node_timeout
    while find_lost(strategy, scenarios) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
