"""A node's answer to a message: the replies of its scenarios."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, RecordDict
from pydantic import ValidationError

import pfmsmtrec_flwr
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.tables import TablesLackError
from pfmsmtrec_flwr.federation.gpu_share import give_back_gpu_memory
from pfmsmtrec_flwr.federation.hosting import hosted_scenarios, open_hosted_scenario, open_scenario, refuse_unlike
from pfmsmtrec_flwr.federation.installed import refuse_other_code
from pfmsmtrec_flwr.federation.journal import note_replies
from pfmsmtrec_flwr.federation.limits import refuse_order
from pfmsmtrec_flwr.federation.locations import client_root, is_simulated, start_root
from pfmsmtrec_flwr.federation.parcels import has_parcels, in_parcels, out_of_parcels
from pfmsmtrec_flwr.federation.protocol import Delivery, Incoming, Order, Reply, pack_replies
from pfmsmtrec_flwr.federation.reasons import reason_for_server
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.description import describe
from pfmsmtrec_flwr.validation import safe_folder

Action = Callable[[ScenarioClient, Order, Incoming], Reply]
ClientOf = Callable[[str], type[ScenarioClient]]
"""Function that returns the client class of a method, by the method's name or file."""


def answer(content: RecordDict, context: Context, client_of: ClientOf, action: Action) -> RecordDict:
    """Carry out an order for every scenario of the message.

    What goes wrong in a scenario comes back as its own error, in one line, and the others answer as usual. The answer
    to a message with parcels has parcels.
    """
    delivery = Delivery(out_of_parcels(content))
    order = delivery.order
    config = _config(order)
    simulated = is_simulated(context)
    # A deployed node trains the scenarios that it declared, whatever the server asks for.
    hosted = delivery.scenarios if simulated else hosted_scenarios(config, context)
    folders: dict[str, Path] = {}
    answers = RecordDict()

    def carry_out(name: str) -> Reply:
        if name not in hosted:
            raise UserError(f"scenario {name} is not hosted by this node, which hosts {', '.join(hosted)}")
        folders[name] = safe_folder(client_root(context, order.run), order.method, name)
        store = open_scenario(config, context, name)
        refuse_order(context, order, config, store)
        earlier = start_root(context)
        start = None if earlier is None else safe_folder(earlier, order.method, name)
        state = LocalState(folders[name], start)
        client = client_of(_reference(order, context))
        return action(client(store, config, state), order, delivery.to([name]))

    def packed_reply(name: str) -> RecordDict:
        replies = {name: _reply_or_error(name, carry_out)}
        if not simulated and name in folders:
            note_replies({name: folders[name]}, order, replies)
        return pack_replies(order, replies, keep_paths=simulated)

    for name in delivery.scenarios:  # before the next begins, nothing but its packed reply is left of each
        answers.update(packed_reply(name))
    give_back_gpu_memory()
    return in_parcels(answers) if has_parcels(content) else answers


def _reply_or_error(name: str, carry_out: Callable[[str], Reply]) -> Reply:
    try:
        return carry_out(name)
    except TablesLackError as error:  # the server sends them whole
        return Reply(error=str(error), lacks_tables=True)
    except Exception as error:  # whatever it is, the node's other scenarios answer
        return Reply(error=_logged(name, error))


def _logged(name: str, error: Exception) -> str:
    """Return an error in one line; the node's log has the traceback of one that no message was written for."""
    if isinstance(error, UserError):
        logger.error("scenario %s: %s", name, error)
        return str(error)
    logger.error("scenario %s failed", name, exc_info=error)
    return f"scenario {name}: {type(error).__name__}: {' '.join(str(error).split())}"


def hello(content: RecordDict, context: Context) -> RecordDict:
    """Return the scenarios that this node hosts, with the description of each for the server, or why it has none."""
    partitions = int(context.node_config.get("num-partitions", 0))
    document = {"version": pfmsmtrec_flwr.__version__, "partitions": partitions, "scenarios": [], "error": ""}
    try:
        if not is_simulated(context):
            refuse_other_code()
        document["scenarios"], document["failed"] = _hosted(
            _config(Order.unpack(content.config_records["order"])), context
        )
    except UserError as error:
        document["error"] = reason_for_server(str(error), keep_paths=is_simulated(context))
    return RecordDict({"hello": ConfigRecord({"hello": json.dumps(document)})})


def _hosted(config: RunConfig, context: Context) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the descriptions of the hosted scenarios, and by name why one of them cannot take part.

    Raises
    ------
    UserError
        There is no data, or the scenarios were prepared under different rules.
    """
    described, failed = [], {}
    stores = []
    for name in hosted_scenarios(config, context):
        try:
            store = open_hosted_scenario(config, context, name)
            described.append(describe(store, config).model_dump())
            stores.append(store)
        except Exception as error:  # whatever it is, the node's other scenarios take part
            failed[name] = reason_for_server(_logged(name, error), keep_paths=is_simulated(context))
    refuse_unlike(config, stores)
    return described, failed


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
