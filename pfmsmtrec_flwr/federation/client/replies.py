"""A scenario's reply to an order to train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.federation.protocol import Reply
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import Part, ScenarioModel, Slot
from pfmsmtrec_flwr.training.local import TrainReport


def update_reply(
    model: ScenarioModel,
    slots: Mapping[str, Slot],
    parts: Iterable[Part],
    report: TrainReport,
    tasks: Sequence[str],
    measured: Mapping[str, float],
) -> Reply:
    """Return the reply after a local training.

    Parameters
    ----------
    model
        Trained model.
    slots
        Part of the model to which each tensor belongs.
    parts
        Parts to send; embedding tables are sent as their touched rows.
    report
        Report on the training.
    tasks
        Names of the tasks.
    measured
        Figures measured before training.
    """
    state = model.state_dict()
    wanted = names_of(slots, parts)
    tables = set(names_of(slots, [Part.FEDERATED_EMBEDDING]))
    figures = {**measured, "examples": report.examples}
    figures |= {f"loss.{task}": float(loss) for task, loss in zip(tasks, report.losses, strict=True)}
    rows = {name: _touched(state[name], report) for name in wanted if name in tables}
    return Reply(figures, {name: state[name] for name in wanted if name not in tables}, rows)


def _touched(table: Tensor, report: TrainReport) -> RowUpdate:
    """Return the rows of a table that the training used; no other row of it leaves the scenario."""
    if report.row_counts is None:
        raise TypeError("an embedding table without counts of its rows")
    rows = report.row_counts.nonzero().flatten()
    return RowUpdate(rows, table.detach().cpu()[rows], report.row_counts[rows])
