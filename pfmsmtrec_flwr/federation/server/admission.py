"""Admission of replies: which of them count, and whether those that count are enough for the round."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from flwr.app import Message, RecordDict

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import Order, Reply
from pfmsmtrec_flwr.federation.reasons import failure_reason, readable_reason
from pfmsmtrec_flwr.federation.server.expected_reply import Asked, ExpectedReply, expected_reply
from pfmsmtrec_flwr.federation.server.quorum import QuorumError
from pfmsmtrec_flwr.federation.server.reading import Records, read_reply
from pfmsmtrec_flwr.log import logger

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy


class Admission:
    """Reads the replies of one exchange after another, each once, however often they are asked for.

    Parameters
    ----------
    strategy
        Strategy whose scenarios answer.
    """

    def __init__(self, strategy: ScenarioStrategy) -> None:
        self._strategy = strategy
        self._asked: Asked | None = None
        self._messages: Iterable[Message] = ()
        self._replies: dict[str, Reply] = {}

    def ask(
        self, kind: str, order: Order, *, only: Collection[str] | None = None, consensus: Collection[str] = ()
    ) -> Order:
        """Remember the order that is about to be sent, and return it.

        Parameters
        ----------
        kind
            Message type.
        order
            Order to every scenario.
        only
            Scenarios that are asked; None: all.
        consensus
            Scenarios that are sent a consensus to measure.
        """
        self._asked, self._messages, self._replies = Asked(kind, order, only, consensus), (), {}
        return order

    @property
    def silent(self) -> set[str]:
        """Scenarios that were asked in the last exchange and have sent no reply that counts."""
        if self._asked is None:
            return set()
        asked = self._strategy.federation.scenarios if self._asked.only is None else self._asked.only
        return set(asked) - self._replies.keys()

    def of(self, messages: Iterable[Message]) -> dict[str, Reply]:
        """Return the replies that count, by scenario; see `admit`."""
        asked, strategy = self._asked, self._strategy
        if asked is None:
            raise ValueError("replies without an order")
        if messages is not self._messages:
            self._replies = admit(
                strategy.federation,
                asked.measured_round,
                messages,
                lambda name: expected_reply(strategy, asked, name),
                quorum=strategy.config.federation.min_scenarios,
                timeout=strategy.timeout,
            )
            self._messages = messages
        return self._replies


def admit(
    federation: Federation,
    number: int,
    messages: Iterable[Message],
    expected: Callable[[str], ExpectedReply],
    *,
    quorum: int,
    timeout: float,
) -> dict[str, Reply]:
    """Return the replies that count, in the order of the scenarios' names.

    Parameters
    ----------
    federation
        Scenarios and their nodes: a node answers for its own scenarios only.
    number
        Round, for messages.
    messages
        The nodes' answers.
    expected
        Function that returns the reply that a scenario owes.
    quorum
        Fewest scenarios that must have answered; 0: all of them.
    timeout
        Seconds that were waited, for messages.

    Raises
    ------
    QuorumError
        Fewer scenarios than the quorum have sent a reply that counts.
    """
    replies: dict[str, Reply] = {}
    problems: dict[str, str] = {}
    for message in messages:
        node = message.metadata.src_node_id
        if not message.has_content():
            problems[f"node {node}"] = failure_reason(message)
            continue
        for name, records in _by_scenario(message.content):
            if federation.hosts.get(name) != node:
                about = name if name in federation.scenarios else f"node {node}"
                problems[about] = readable_reason(f"node {node} answers for {name}, which it does not host")
                continue
            try:
                replies[name] = read_reply(records, expected(name))
            except UserError as error:
                problems[name] = readable_reason(str(error))
    # Messages come in any order, and a scenario whose first answer did not count may have answered again.
    reasons = sorted(problem for name, problem in problems.items() if name not in replies)
    wanted = quorum or len(federation.scenarios)
    missing = sorted(set(federation.scenarios) - replies.keys())
    if len(replies) < min(wanted, len(federation.scenarios)):
        why = reasons[0] if reasons else f"no answer within {timeout:g} s"
        what = f"nothing usable from {', '.join(missing)}, {wanted} scenarios are needed"
        raise QuorumError(f"round {number}: {what}: {why}", missing)
    if missing:
        because = "; ".join(reasons) or "no answer"
        logger.warning("round %d goes on without %s: %s", number, ", ".join(missing), because)
    return {name: replies[name] for name in sorted(replies)}


def _by_scenario(content: RecordDict) -> Iterator[tuple[str, Records]]:
    """Yield the records of each scenario by kind; their keys are ``<scenario>/<kind>``."""
    found: dict[str, dict[str, object]] = {}
    for key, record in content.items():
        scenario, _, kind = key.partition("/")
        found.setdefault(scenario, {})[kind] = record
    yield from found.items()
