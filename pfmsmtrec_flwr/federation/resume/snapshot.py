"""State of a training on the server: what a checkpoint holds of it, and how a training goes on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flwr.app import MetricRecord
from pydantic import TypeAdapter

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.resume.checkpoints import Checkpoint
from pfmsmtrec_flwr.federation.server.result import FederationResult
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.training.description import Description
from pfmsmtrec_flwr.training.records import RoundRecord

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy

RECORDS = TypeAdapter(list[RoundRecord])
"""Reader and writer of the records of rounds."""


def keep_checkpoint(strategy: ScenarioStrategy, result: FederationResult) -> None:
    """Keep the state of a training before anything more is sent, if its run keeps checkpoints.

    Raises
    ------
    UserError
        The checkpoint cannot be written.
    """
    if strategy.checkpoints is None:
        return
    about = {
        "method": strategy.config.method,
        "schema_hashes": {name: own.schema_hash for name, own in strategy.federation.scenarios.items()},
    }
    state = {
        "progress": {name: getattr(strategy.progress, name) for name in _PROGRESS},
        "scenarios": {name: own.model_dump() for name, own in strategy.federation.scenarios.items()},
        "absent": dict(strategy.federation.absent),
        "method": strategy.state_dict(),
        "stale": strategy.stale.state_dict(),
        "selection": strategy.selection.state_dict(),
        "consensus": strategy.kept_consensus.state_dict(),
        "records": RECORDS.dump_python(list(strategy.records.values())),
        "completed": [record.round for record in result.rounds],
        "metrics": {name: _plain(getattr(result, name)) for name in _METRICS},
    }
    strategy.checkpoints.write(Checkpoint(strategy.progress.exchanges, state), about)


def go_on_from(checkpoint: Checkpoint, strategy: ScenarioStrategy, result: FederationResult) -> None:
    """Put the state of a checkpoint into a training that has shaken hands, and report its rounds once more.

    Raises
    ------
    UserError
        The scenarios differ from those with which the run began.
    """
    state = checkpoint.state
    _require_scenarios(state["scenarios"], strategy.federation.scenarios)
    strategy.federation = replace(strategy.federation, absent=state["absent"])
    for name in _PROGRESS:
        setattr(strategy.progress, name, state["progress"][name])
    strategy.load_state_dict(state["method"])
    strategy.stale.load_state_dict(state["stale"])
    strategy.selection.load_state_dict(state["selection"])
    strategy.kept_consensus.load_state_dict(state["consensus"])
    strategy.records = {record.round: record for record in RECORDS.validate_python(state["records"])}
    result.rounds = [strategy.records[number] for number in state["completed"]]
    result.selected, result.absent = dict(strategy.selection.selected), state["absent"]
    for name in _METRICS:
        setattr(result, name, {number: MetricRecord(own) for number, own in state["metrics"][name].items()})
    logger.info("%s goes on after exchange %d", strategy.config.method, checkpoint.number)
    if strategy.on_round is not None:
        for record in result.rounds:
            strategy.on_round(record)


_PROGRESS = ("exchanges", "aggregated", "measured", "counted", "seconds")
_METRICS = ("train_metrics_clientapp", "evaluate_metrics_clientapp", "evaluate_metrics_serverapp")


def _plain(metrics: Mapping[int, MetricRecord]) -> dict[int, dict[str, Any]]:
    return {number: dict(record) for number, record in metrics.items()}


def _require_scenarios(before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Description]) -> None:
    """Refuse scenarios that are others, or whose data has changed."""
    if before.keys() != now.keys():
        names = sorted(before.keys() ^ now.keys())
        raise UserError(
            f"cannot resume: scenario {names[0]} {'is missing' if names[0] in before else 'is new'}, "
            f"the run began with {', '.join(before)}"
        )
    for name, description in now.items():
        for key, value in description.model_dump().items():
            if value != before[name].get(key):
                raise UserError(
                    f"cannot resume: {key} of scenario {name} is {value!r} now and was {before[name].get(key)!r} when "
                    "the run began: resume with the same prepared data, or start a new run"
                )
