"""A scenario's start from the model that it saved in an earlier run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, Tensors
from pfmsmtrec_flwr.federation.sharing import names_of, refuse_private
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.model import ScenarioModel, draw_parameters

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.client.client import ScenarioClient

STARTS = "starts"
"""Figure of a reply to the order to start: 1 if the scenario has an earlier model, 0 if it is new."""


def starting_state(client: ScenarioClient) -> Tensors:
    """Return the state with which a scenario starts, on the values of its store; empty if it has no earlier model.

    Raises
    ------
    UserError
        The earlier model does not fit the store or the configuration, or is damaged.
    """
    folder = client.state.start
    if folder is None:
        return {}
    from pfmsmtrec_flwr.scoring.earlier_model import EarlierModel, has_model  # pandas: a second of a process

    if not has_model(folder):
        return {}
    earlier = EarlierModel.open(folder, client.store, client.config.model)
    fresh = client.make_model().cpu()
    draw_parameters(fresh, client.config.seed)
    return earlier.starting_state(fresh)


def restore_statistics(client: ScenarioClient, model: ScenarioModel, order: Order) -> bool:
    """Give a model that is measured as round 0 the normalization statistics of the earlier model.

    Without ``train.reestimate_batch_norm`` they are parameters like others, and those that were received stay.

    Returns
    -------
    bool
        Whether the order measures round 0 of a scenario with an earlier model; otherwise nothing is done.
    """
    if order.round != 1 or not client.start:  # the order to train in round 1 measures round 0
        return False
    if client.config.train.reestimate_batch_norm:
        own = {name: client.start[name] for name, slot in client.slots.items() if slot.statistic}
        model.load_state_dict(own, strict=False)
    return True


def offer_start(client: ScenarioClient, order: Order, incoming: Incoming) -> Reply:  # noqa: ARG001 - nothing comes
    """Return the parts that the order names of the state with which a scenario starts; none if it is new.

    Raises
    ------
    UserError
        The order names a private part, updates have noise, or the earlier model does not fit.
    """
    refuse_private(order.parts, client.store.scenario)
    if client.config.privacy.noise:
        raise UserError(
            "an earlier model would leave without noise: start without --start-from, or set privacy.noise=0"
        )
    state = client.start
    if state:
        logger.info("scenario %s starts from its model in %s", client.store.scenario, client.state.start)
    shared = {name: state[name] for name in names_of(client.slots, order.parts)} if state else {}
    return Reply({STARTS: float(bool(state))}, shared)
