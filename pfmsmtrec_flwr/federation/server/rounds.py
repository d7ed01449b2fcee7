"""The loop over rounds, and the test that ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from pfmsmtrec_flwr.federation.protocol import pack_tensors
from pfmsmtrec_flwr.federation.resume.snapshot import keep_checkpoint
from pfmsmtrec_flwr.federation.server.figures import below
from pfmsmtrec_flwr.federation.server.lost_scenarios import find_lost
from pfmsmtrec_flwr.federation.server.quorum import exchange_until_quorum
from pfmsmtrec_flwr.federation.server.result import FederationResult
from pfmsmtrec_flwr.log import logger

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy

EvaluateFunction = Callable[[int, ArrayRecord], MetricRecord | None]
"""Function of a round's number and the scenarios' consensus, called after each round."""


def run_rounds(
    strategy: ScenarioStrategy, grid: Grid, rounds: int, result: FederationResult, evaluate: EvaluateFunction | None
) -> None:
    """Run all rounds, or fewer if the mean validation AUC stops improving (the log loss where no AUC is defined).

    A round is measured by the next round's message: it brings the round's parameters to the scenarios, which measure
    them on validation rows before they train on.
    """
    stages = strategy.stages()
    exchanges = [(number, stage) for number in range(1, rounds + 1) for stage in stages]
    for number, stage in exchanges[strategy.progress.aggregated :]:  # a run that is resumed has aggregated some already
        strategy.stage = stage
        # 0. A scenario that was silent and whose node is gone may have another one by now.
        find_lost(strategy, strategy.admission.silent)
        # 1. Every scenario receives its parameters, measures them, trains on, and sends its update back.
        messages = strategy.configure_train(number, ArrayRecord(), ConfigRecord(), grid)
        replies = exchange_until_quorum(strategy, grid, messages, strategy.record(number))
        del messages  # they take as much memory as all parameters
        # 2. The first replies of a round measure the round before, which is now complete.
        if number > strategy.first_measured and stage is stages[0]:
            complete_round(strategy, number - 1, replies, result)
            if strategy.selection.exhausted:
                figure, patience = strategy.selection.figure, strategy.selection.patience
                logger.info("no better mean validation %s for %d rounds: stopping", figure, patience)
                return
        # 3. The updates become the next parameters.
        _, losses = strategy.aggregate_train(number, replies)
        if losses is not None:
            result.train_metrics_clientapp[number] = losses
        # 4. What the method has learned is recorded, and the caller may look at the consensus.
        if stage is stages[-1]:
            record_learned(strategy, number, result, evaluate)
        # 5. All of it is kept before anything more is sent.
        strategy.progress.aggregated += 1
        keep_checkpoint(strategy, result)
    # 6. No message follows the last round: it is measured by one that trains nothing.
    strategy.stage = stages[0]
    find_lost(strategy, strategy.admission.silent)
    messages = strategy.configure_evaluate(rounds, ArrayRecord(), ConfigRecord(), grid)
    replies = exchange_until_quorum(strategy, grid, messages, strategy.record(rounds))
    complete_round(strategy, rounds, replies, result)


def record_learned(
    strategy: ScenarioStrategy, number: int, result: FederationResult, evaluate: EvaluateFunction | None
) -> None:
    """Add what the method has learned in a round to its record, and let the caller look at the consensus."""
    record = strategy.record(number)
    record.shares = strategy.shares()
    record.conflict = strategy.conflict()
    record.attention = strategy.attention()
    if evaluate is not None and (metrics := evaluate(number, pack_tensors(strategy.consensus()))) is not None:
        result.evaluate_metrics_serverapp[number] = metrics


def complete_round(strategy: ScenarioStrategy, number: int, replies: list[Message], result: FederationResult) -> None:
    """Complete a round's record with the validation metrics in the replies, and pass it on."""
    result.evaluate_metrics_clientapp[number] = strategy.aggregate_evaluate(number, replies)
    record = strategy.record(number)
    if strategy.selection.exhausted:  # the next round's first message was sent to measure this one, and is not used
        record.add_cost(strategy.record(number + 1))
    record.elapsed = strategy.progress.seconds
    result.rounds.append(record)
    result.selected = dict(strategy.selection.selected)
    scores = [score for name in record.validation if (score := record.score(name)) is not None]
    mean = f"{sum(scores) / len(scores):.4f}" if scores else "n/a"
    over = f" over {', '.join(record.validation)}" if record.unmeasured else ""
    logger.info("round %d of %d: mean validation AUC %s%s", number, strategy.config.federation.rounds, mean, over)
    if strategy.on_round is not None:
        strategy.on_round(record)


def measure_selected(strategy: ScenarioStrategy, grid: Grid, result: FederationResult) -> None:
    """Have the scenarios measure their selected models on test rows, and save them where they are."""
    last = result.rounds[-1]
    find_lost(strategy, strategy.admission.silent)
    replies = exchange_until_quorum(strategy, grid, strategy.test_messages(last.round), last)
    for name, reply in strategy.admission.of(replies).items():
        result.test[name] = below("test.", reply.figures)
        result.consensus[name] = below("consensus.", reply.figures)
        result.best[name] = below("best.", reply.figures)
        if reply.draws:
            result.draws[name] = reply.draws
