"""Admission of replies: which of them count, and whether those that count are enough for the round."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
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
    """Reads the replies of one exchange after another, and keeps those of the present one, however often it is asked.

    Parameters
    ----------
    strategy
        Strategy whose scenarios answer.
    """

    def __init__(self, strategy: ScenarioStrategy) -> None:
        self._strategy = strategy
        self._asked: Asked | None = None
        self._replies: dict[str, Reply] = {}
        self._problems: dict[str, str] = {}
        self._enough = False

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
        self._asked = Asked(kind, order, only, consensus)
        self._replies, self._problems, self._enough = {}, {}, False
        return order

    @property
    def silent(self) -> set[str]:
        """Scenarios that were asked in the last exchange and have sent no reply that counts."""
        if self._asked is None:
            return set()
        asked = self._strategy.federation.scenarios if self._asked.only is None else self._asked.only
        return set(asked) - self._replies.keys()

    def of(self, messages: Iterable[Message]) -> dict[str, Reply]:
        """Return the replies that count so far, in the order of the scenarios' names.

        Parameters
        ----------
        messages
            The nodes' answers. One that comes twice is read twice; what was read once counts for the whole exchange.

        Raises
        ------
        QuorumError
            Fewer scenarios than the quorum have sent a reply that counts.
        """
        asked, strategy = self._asked, self._strategy
        if asked is None:
            raise ValueError("replies without an order")
        owed = partial(expected_reply, strategy, asked)
        found, problems = read_replies(strategy.federation, messages, owed)
        if found or problems or not self._enough:
            replies = self._replies | found
            self._replies = {name: replies[name] for name in sorted(replies)}
            self._problems |= problems
            self._check(asked.measured_round)
            self._enough = True
        return self._replies

    def _check(self, number: int) -> None:
        """Raise an error if the replies to a round's order are too few, and say which are missing."""
        scenarios, quorum = self._strategy.federation.scenarios, self._strategy.config.federation.min_scenarios
        # Messages come in any order, and a scenario whose first answer did not count may have answered again.
        reasons = sorted(problem for name, problem in self._problems.items() if name not in self._replies)
        wanted = quorum or len(scenarios)
        missing = sorted(set(scenarios) - self._replies.keys())
        if len(self._replies) < min(wanted, len(scenarios)):
            why = reasons[0] if reasons else f"no answer within {self._strategy.timeout:g} s"
            what = f"nothing usable from {', '.join(missing)}, {wanted} scenarios are needed"
            raise QuorumError(f"round {number}: {what}: {why}", missing)
        if missing:
            because = "; ".join(reasons) or "no answer"
            logger.warning("round %d goes on without %s: %s", number, ", ".join(missing), because)


def read_replies(
    federation: Federation, messages: Iterable[Message], expected: Callable[[str], ExpectedReply]
) -> tuple[dict[str, Reply], dict[str, str]]:
    """Return the replies in messages that are usable, and why others are not, by scenario or node.

    Parameters
    ----------
    federation
        Scenarios and their nodes: a node answers for its own scenarios only.
    messages
        The nodes' answers.
    expected
        Function that returns the reply that a scenario owes.
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
    return replies, problems


def _by_scenario(content: RecordDict) -> Iterator[tuple[str, Records]]:
    """Yield the records of each scenario by kind; their keys are ``<scenario>/<kind>``."""
    found: dict[str, dict[str, object]] = {}
    for key, record in content.items():
        scenario, _, kind = key.partition("/")
        found.setdefault(scenario, {})[kind] = record
    yield from found.items()
