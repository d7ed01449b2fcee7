"""Admission of replies: which of them count, and whether those that count are enough for the round."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from flwr.app import Message
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import Reply, Tensors, check_tensors, unpack_replies
from pfmsmtrec_flwr.federation.server.quorum import QuorumError
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.model import Part, Slot

ReplyCheck = Callable[[str, Reply], None]
"""Function that raises a `UserError` if a scenario's reply must not count."""


def admit(
    federation: Federation,
    number: int,
    messages: Iterable[Message],
    *,
    quorum: int,
    timeout: float,
    check: ReplyCheck | None = None,
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
    quorum
        Fewest scenarios that must have answered; 0: all of them.
    timeout
        Seconds that were waited, for messages.
    check
        Further check of a reply.

    Raises
    ------
    QuorumError
        Fewer scenarios than the quorum have sent a reply that counts.
    """
    replies: dict[str, Reply] = {}
    problems: dict[str, str] = {}
    for message in messages:
        if message.has_error():
            problems[f"node {message.metadata.src_node_id}"] = message.error.reason or f"error {message.error.code}"
            continue
        for name, reply in unpack_replies(message.content).items():
            problem = _problem(federation, name, reply, message.metadata.src_node_id, check)
            if problem is None:
                replies[name] = reply
            else:
                problems[name] = problem
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


def check_update(
    name: str, reply: Reply, *, sent: Tensors, slots: Mapping[str, Slot], parts: Collection[Part], tasks: Sequence[str]
) -> None:
    """Check that an update has the parameters that were asked for, and nothing else.

    Parameters
    ----------
    name
        Name of the scenario.
    reply
        Its reply.
    sent
        Parameters that it was sent.
    slots
        Part of its model that each tensor belongs to.
    parts
        Parts that it was asked to send back.
    tasks
        Its tasks, each of which has a training loss.

    Raises
    ------
    UserError
        A tensor, a table's rows or a figure is missing, unknown, of another shape or type, or not finite.
    """
    tables = set(names_of(slots, set(parts) & {Part.FEDERATED_EMBEDDING}))
    wanted = {key: sent[key] for key in names_of(slots, parts) if key not in tables}
    check_tensors(reply.parameters, wanted, f"scenario {name}")
    if reply.rows.keys() != tables:
        raise UserError(f"scenario {name}: got rows of {sorted(reply.rows)}, expected those of {sorted(tables)}")
    for key, update in reply.rows.items():
        _check_rows(update, sent[key], f"scenario {name}, table {key}")
    figures = ("examples", *(f"loss.{task}" for task in tasks))
    if not all(math.isfinite(reply.figures.get(figure, math.nan)) for figure in figures):
        raise UserError(f"scenario {name}: the reply lacks one of the figures {', '.join(figures)}")
    if reply.figures["examples"] < 1:
        raise UserError(f"scenario {name}: trained on {reply.figures['examples']:g} rows, expected at least 1")


def check_draws(name: str, reply: Reply, *, draws: int, tasks: Sequence[str]) -> None:
    """Check that a reply has the AUC of each task in each draw: a share, or NaN where it is not defined.

    Raises
    ------
    UserError
        A task is missing or unknown, or its figures are of another number or no shares.
    """
    shapes = {task: drawn.shape for task, drawn in reply.draws.items()}
    if shapes != {task: (draws,) for task in tasks if draws}:
        raise UserError(f"scenario {name}: got draws of shape {shapes}, expected {draws} for {', '.join(tasks)}")
    for task, drawn in reply.draws.items():
        if ((drawn < 0) | (drawn > 1)).any():
            raise UserError(
                f"scenario {name}: its draws of {task} reach from {drawn.min()} to {drawn.max()}, no AUC does"
            )


def _problem(federation: Federation, name: str, reply: Reply, node: int, check: ReplyCheck | None) -> str | None:
    """Return the reason why a reply does not count; None if it does."""
    if federation.hosts.get(name) != node:
        return f"node {node} answers for {name}, which it does not host"
    if reply.error:
        return reply.error
    try:
        if check is not None:
            check(name, reply)
    except UserError as error:
        return str(error)
    return None


def _check_rows(update: RowUpdate, table: Tensor, source: str) -> None:
    rows, values, counts = update.rows, update.values, update.counts
    ascending = rows.dim() == 1 and bool((rows.diff() > 0).all())
    in_range = ascending and (len(rows) == 0 or (int(rows[0]) >= 0 and int(rows[-1]) < len(table)))
    fits = in_range and values.shape == (len(rows), table.shape[1]) and values.dtype == table.dtype
    if not fits or counts.shape != rows.shape or not (counts > 0).all() or not torch.isfinite(values).all():
        raise UserError(f"{source}: got rows, values or counts that do not fit a table of {tuple(table.shape)}")
