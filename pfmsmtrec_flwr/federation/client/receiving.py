"""What a scenario starts an exchange with: its memory, and what came with the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.feedback import known_copies
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.client.tables import Received, received_tables
from pfmsmtrec_flwr.federation.client.used_rows import TABLE, UsedRows
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import Part, draw_parameters, make_model
from pfmsmtrec_flwr.training.description import model_spec

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.client.client import ScenarioClient

_USED = "used rows"
"""Scope of the memory with the fingerprint of the rows that the model holds, and the name of the figure."""


def remembered(client: ScenarioClient, order: Order) -> ClientMemory:
    """Return the memory that the exchange before an order left.

    Raises
    ------
    UserError
        The memory is not there, or is of other prepared rows.
    """
    scenario = client.store.scenario
    memory = client.state.load(order.exchange - 1, order.counted.get(scenario, 0))
    if not memory.is_empty and memory.scope(_USED).figures != _figures(client.used):
        raise UserError(
            f"scenario {scenario}: its memory of the exchange before belongs to other prepared rows or settings: bring "
            "them back, or start a new run"
        )
    return memory


def with_used_rows(memory: ClientMemory, used: UsedRows) -> ClientMemory:
    """Return a memory that says which rows the model holds."""
    figures = _figures(used)
    return memory.with_scope(_USED, ClientMemory(figures=figures)) if figures else memory


def receive(client: ScenarioClient, order: Order, incoming: Incoming, memory: ClientMemory) -> Received:
    """Return what came, and the copies of its tables, of which large ones lie in files.

    Parameters
    ----------
    client
        Scenario that received it.
    order
        Order that came with it.
    incoming
        Parameters as they came.
    memory
        Memory that the last exchange left.

    Raises
    ------
    UserError
        See `received_tables`.
    """
    came = received_tables(incoming, known_copies(client, order, memory), table_forms(client), client.used)
    copies, drawn = came.copies, {}
    if client.used.rows is not None and TABLE not in copies:  # a method that does not share it
        copies = {**copies, TABLE: memory.tables.get(TABLE) or _drawn_table(client)}
        drawn = {TABLE: client.used.part(TABLE, copies[TABLE])}
    return Received(came.incoming, client.state.settled(copies), drawn)


def table_forms(client: ScenarioClient) -> dict[str, Tensor]:
    """Return the shape and type of each whole federated table of a scenario's model, as tensors without values."""
    state = client.model.state_dict()
    names = names_of(client.slots, [Part.FEDERATED_EMBEDDING])
    return {name: client.used.form(name, state[name]) for name in names}


def _figures(used: UsedRows) -> dict[str, float]:
    return {} if used.fingerprint is None else {_USED: used.fingerprint}


def _drawn_table(client: ScenarioClient) -> TableCopy:
    """Return the whole table as it is drawn."""
    whole = make_model(model_spec(client.used.whole), client.config.model)
    draw_parameters(whole, client.config.seed)
    return TableCopy.of(whole.state_dict()[TABLE])
