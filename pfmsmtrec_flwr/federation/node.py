"""A node's answer to a message: the replies of its scenarios."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from flwr.app import ConfigRecord, Context, RecordDict
from pydantic import ValidationError

import pfmsmtrec_flwr
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.tables import TablesLackError
from pfmsmtrec_flwr.federation.hosting import hosted_scenarios, hosted_stores, open_scenario
from pfmsmtrec_flwr.federation.locations import client_root, is_simulated, start_root
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, pack_replies, unpack_orders
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.description import describe
from pfmsmtrec_flwr.validation import safe_folder

Action = Callable[[ScenarioClient, Order, Incoming], Reply]
ClientOf = Callable[[str], type[ScenarioClient]]
"""Function that returns the client class of a method, by the method's name or file."""


def answer(content: RecordDict, context: Context, client_of: ClientOf, action: Action) -> RecordDict:
    """Carry out an order for every scenario of the message.

    A `UserError` comes back as the scenario's error, in one line; any other exception is raised.
    """
    order, incoming, scenarios = unpack_orders(content)
    config = _config(order)
    # A deployed node trains the scenarios that it declared, whatever the server asks for.
    hosted = scenarios if is_simulated(context) else hosted_scenarios(config, context)
    replies = {}
    for name in scenarios:
        try:
            if name not in hosted:
                raise UserError(f"scenario {name} is not hosted by this node, which hosts {', '.join(hosted)}")
            store = open_scenario(config, context, name)
            earlier = start_root(context)
            start = None if earlier is None else safe_folder(earlier, order.method, name)
            state = LocalState(safe_folder(client_root(context), order.method, name), start)
            client = client_of(_reference(order, context))
            replies[name] = action(client(store, config, state), order, incoming)
        except TablesLackError as error:  # the server sends them whole
            replies[name] = Reply(error=str(error), lacks_tables=True)
        except UserError as error:
            logger.error("scenario %s: %s", name, error)
            replies[name] = Reply(error=str(error))
    return pack_replies(replies)


def hello(content: RecordDict, context: Context) -> RecordDict:
    """Return the scenarios that this node hosts, with the description of each for the server."""
    partitions = int(context.node_config.get("num-partitions", 0))
    document = {"version": pfmsmtrec_flwr.__version__, "partitions": partitions, "scenarios": [], "error": ""}
    try:
        config = _config(Order.unpack(content.config_records["order"]))
        document["scenarios"] = [describe(store, config).model_dump() for store in hosted_stores(config, context)]
    except UserError as error:
        document["error"] = str(error)
    return RecordDict({"hello": ConfigRecord({"hello": json.dumps(document)})})


def _reference(order: Order, context: Context) -> str:
    """Return the name or the file of the method; a deployed node loads no file that lies outside the app's folder."""
    reference = order.file or order.method
    if not is_simulated(context) and Path(reference).name != reference:
        raise UserError(
            f"the server names the method file {reference}, and a node loads files next to client_app.py only: "
            "put it there, and name it without its folder"
        )
    return reference


def _config(order: Order) -> RunConfig:
    try:
        return RunConfig.model_validate_json(order.config)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(
            f"got a configuration whose '{key}' pfmsmtrec-flwr {pfmsmtrec_flwr.__version__} does not know: "
            "install the same version, and the same packages that add to it, on server and clients"
        ) from None
