"""A scenario's reply to an order to train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, Tensors
from pfmsmtrec_flwr.federation.sharing import names_of, refuse_private
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.training.local import TrainReport

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.client.client import ScenarioClient


def refuse_parts(client: ScenarioClient, order: Order) -> None:
    """Refuse an order for parts that must not leave the scenario as the configuration has it.

    Raises
    ------
    UserError
        A part is private, or noise is asked for and a part cannot have it.
    """
    refuse_private(order.parts, client.store.scenario)
    if not client.config.privacy.noise:
        return
    learned = {name for name, _ in client.model.named_parameters()}
    for name in names_of(client.slots, order.parts):
        slot = client.slots[name]
        kept = slot.statistic and client.config.train.reestimate_batch_norm  # goes back as it came
        if name not in learned and not kept:
            raise UserError(
                f"scenario {client.store.scenario}: the server asks for '{slot.part}' and for noise, which the "
                f"statistic {name} cannot have: set train.reestimate_batch_norm=true, or choose another method"
            )


def update_reply(
    client: ScenarioClient, order: Order, incoming: Incoming, report: TrainReport, measured: Mapping[str, float]
) -> Reply:
    """Return the reply after a local training.

    Parameters
    ----------
    client
        Scenario whose model is trained.
    order
        Order that names the parts to send; embedding tables are sent as their touched rows, or whole with noise.
    incoming
        Values that came, with whole tables.
    report
        Report on the training.
    measured
        Figures measured before training.
    """
    state = client.model.state_dict()
    wanted = names_of(client.slots, order.parts)
    tables = set(names_of(client.slots, [Part.FEDERATED_EMBEDDING])) & set(wanted)
    figures = {**measured, "examples": report.examples}
    if client.config.privacy.noise:  # losses, which are exact, stay
        sent = _with_noise(client, incoming, {name: state[name] for name in wanted})
        rows = {name: _whole(sent[name]) for name in tables}
        return Reply(figures, {name: sent[name] for name in wanted if name not in tables}, rows)
    figures |= {f"loss.{task}": float(loss) for task, loss in zip(client.store.tasks, report.losses, strict=True)}
    counts = report.row_counts
    if client.config.privacy.row_counts == "powers" and counts is not None:
        counts = powers_of_two(counts)
    rows = {name: _touched(state[name], counts) for name in tables}
    return Reply(figures, {name: state[name] for name in wanted if name not in tables}, rows)


def powers_of_two(counts: Tensor) -> Tensor:
    """Return the largest powers of two that do not exceed counts (n,) int64; 0 stays 0.

    >>> powers_of_two(torch.tensor([0, 1, 3, 4, 1000])).tolist()
    [0, 1, 2, 4, 512]
    """
    exponents = torch.frexp(counts.double()).exponent - 1  # exact up to 2**53
    return torch.where(counts > 0, torch.ones_like(counts) << exponents.clamp(min=0), 0)


def _with_noise(client: ScenarioClient, incoming: Incoming, trained: Tensors) -> Tensors:
    """Return tensors with noise; statistics, which are estimated anew where they serve, go back as they came."""
    from pfmsmtrec_flwr.federation.client.noise import noised, site_key  # a client process starts without a cipher

    if not trained:
        return {}
    came = incoming.common | incoming.personal.get(client.store.scenario, {})
    if missing := sorted(trained.keys() - came.keys()):
        raise UserError(f"scenario {client.store.scenario}: {missing[:3]} did not come, so no change of it gets noise")
    learned = {name: value for name, value in trained.items() if not client.slots[name].statistic}
    key = site_key(client.state.folder)
    return {name: came[name] for name in trained} | noised(came, learned, client.config.privacy, key=key)


def _whole(table: Tensor) -> RowUpdate:
    """Return all rows of a table, with a count of one each, so that nothing says which of them were used."""
    return RowUpdate(torch.arange(len(table)), table, torch.ones(len(table), dtype=torch.int64))


def _touched(table: Tensor, counts: Tensor | None) -> RowUpdate:
    """Return the rows of a table that the training used; no other row of it leaves the scenario."""
    if counts is None:
        raise TypeError("an embedding table without counts of its rows")
    rows = counts.nonzero().flatten()
    return RowUpdate(rows, table.detach().cpu()[rows], counts[rows])
