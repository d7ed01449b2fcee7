"""The figures of a reply: training losses, validation metrics, gates, test metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import Reply
from pfmsmtrec_flwr.training.records import RoundRecord, TaskValidation

_LOSS = "loss."


def note_validation(record: RoundRecord, replies: Mapping[str, Reply], federation: Federation) -> None:
    """Note in a round's record the validation metrics and gates of the scenarios, and who has not measured it."""
    for name, reply in replies.items():
        tasks = federation.scenarios[name].tasks
        record.validation[name] = validation_metrics(reply.figures, tasks)
        record.gates[name] = gate_shares(reply.figures, tasks)
    record.unmeasured = federation.names - record.validation.keys()


def note_losses(record: RoundRecord, replies: Mapping[str, Reply]) -> None:
    """Note in a round's record the mean training losses of the scenarios; with noise on updates they send none."""
    sent = {name: reply.figures for name, reply in replies.items() if below(_LOSS, reply.figures)}
    record.losses |= {name: mean_loss(figures) for name, figures in sent.items()}


def mean_loss(figures: Mapping[str, float]) -> float:
    """Return the mean training loss over the tasks."""
    losses = list(below(_LOSS, figures).values())
    return sum(losses) / len(losses)


def validation_metrics(figures: Mapping[str, float], tasks: Sequence[str]) -> dict[str, TaskValidation]:
    """Return the validation metrics of each task."""
    own = below("validation.", figures)
    return {task: TaskValidation(own.get(f"auc.{task}"), own[f"logloss.{task}"]) for task in tasks}


def gate_shares(figures: Mapping[str, float], tasks: Sequence[str]) -> dict[str, list[float]]:
    """Return the mean share of each expert (E,), by task; empty for a model without gates."""
    shares = {task: below(f"gate.{task}.", figures) for task in tasks}
    return {task: [own[str(expert)] for expert in range(len(own))] for task, own in shares.items() if own}


def below(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures whose names begin with a prefix, under the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in figures.items() if key.startswith(prefix)}
