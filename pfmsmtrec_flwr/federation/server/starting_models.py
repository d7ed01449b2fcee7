"""The start of a run from the scenarios' models of an earlier run.

Each scenario sends the shared parts of its own saved model, once. A scenario without a model starts from the consensus
of the others: the mean of their shared parts, weighted by training rows. That is the model which the scenarios have in
common by the definition of `ScenarioStrategy.consensus`; agreement between scenarios, which pf-msmtrec weights by,
is not known of a scenario that has sent no update yet. Common parts start at the same mean. Local parts do not travel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flwr.serverapp import Grid

from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.starting import STARTS
from pfmsmtrec_flwr.federation.locations import CLIENTS_NAME
from pfmsmtrec_flwr.federation.protocol import START, Incoming, Order, Tensors
from pfmsmtrec_flwr.federation.server.exchange import messages_to_nodes
from pfmsmtrec_flwr.federation.server.parameters import Parameters
from pfmsmtrec_flwr.federation.server.quorum import exchange_until_quorum
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.scoring.model_folders import scenarios_with_models

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy


def start_from_models(strategy: ScenarioStrategy, grid: Grid) -> None:
    """Ask the scenarios for the shared parts of their earlier models, and put them in place of the drawn parameters.

    Raises
    ------
    UserError
        Fewer scenarios than the quorum answer with what fits, or no scenario has a model.
    """
    order = Order(
        config=strategy.config.model_dump_json(),
        method=strategy.config.method,
        round=0,
        exchange=0,
        parts=tuple(sorted(strategy.sharing.parts)),
        file=strategy.method_file,
    )
    messages = messages_to_nodes(strategy.federation, START, strategy.admission.ask(START, order), Incoming({}, {}))
    answers = exchange_until_quorum(strategy, grid, messages, strategy.record(0))
    replies = strategy.admission.of(answers)
    started = {name: reply.parameters for name, reply in replies.items() if reply.figures[STARTS]}
    method = strategy.config.method
    if not started:
        raise UserError(f"no scenario has a model of {method} in {strategy.start_from}: start without --start-from")
    put_into(strategy.parameters, started, strategy.federation.train_rows())
    new = [name for name, reply in replies.items() if not reply.figures[STARTS]]
    _report(method, Path(strategy.start_from), list(started), new, list(strategy.federation.scenarios))


def put_into(parameters: Parameters, started: dict[str, Tensors], train_rows: dict[str, int]) -> None:
    """Replace initial parameters by those of earlier models.

    Parameters
    ----------
    parameters
        Drawn parameters of all scenarios, changed in place. Those that no earlier model has stay.
    started
        Shared parts of the earlier models, by scenario and name.
    train_rows
        Training rows of each scenario, which weight the means.
    """
    owners = {name: train_rows[name] for name in sorted(started)}
    consensus = Parameters(personal=started).personal_mean(owners)
    parameters.common |= {key: consensus[key] for key in parameters.common if key in consensus}
    for name, own in parameters.personal.items():
        known = started.get(name, consensus)
        own.update({key: known[key].clone() for key in own if key in known and key not in parameters.tables})
    for key, table in parameters.tables.items():
        known_tables = ((name, started.get(name, consensus)) for name in parameters.personal if name in table)
        parameters.tables[key] = PersonalTable.of(
            (name, known[key] if key in known else table.table(name)) for name, known in known_tables
        )


def _report(method: str, run: Path, started: list[str], new: list[str], scenarios: list[str]) -> None:
    for name in scenarios:
        if name not in started:
            why = "is new" if name in new else "has sent no model"
            logger.info("scenario %s %s: it starts from the consensus of %s", name, why, ", ".join(started))
    for name in scenarios_with_models(run / CLIENTS_NAME / method):
        if name not in scenarios:
            logger.info("scenario %s has a model in %s, and takes no part", name, run)
