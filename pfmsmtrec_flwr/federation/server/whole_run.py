"""A federated training from the handshake to the test figures, anew or from a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flwr.serverapp import Grid

from pfmsmtrec_flwr.federation.handshake import shake_hands
from pfmsmtrec_flwr.federation.protocol import pack_tensors
from pfmsmtrec_flwr.federation.resume.snapshot import go_on_from, keep_checkpoint
from pfmsmtrec_flwr.federation.roll_call import RollCall
from pfmsmtrec_flwr.federation.server.result import FederationResult
from pfmsmtrec_flwr.federation.server.rounds import EvaluateFunction, measure_selected, run_rounds
from pfmsmtrec_flwr.federation.server.starting_models import start_from_models
from pfmsmtrec_flwr.federation.server.training_progress import TrainingProgress

if TYPE_CHECKING:
    from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy


def run_federation(
    strategy: ScenarioStrategy, grid: Grid, rounds: int, evaluate: EvaluateFunction | None
) -> FederationResult:
    """Run all rounds of a strategy, and measure the selected ones on test rows.

    A checkpoint is kept before the first exchange, after each aggregation, and before the test. What a checkpoint lacks
    was sent after it, and is sent again.

    Parameters
    ----------
    strategy
        Strategy, whose checkpoints say whether it goes on from one.
    grid
        Grid that carries the messages.
    rounds
        Number of rounds.
    evaluate
        Function that is called after each round.
    """
    strategy.progress = TrainingProgress()
    checkpoint = None if strategy.checkpoints is None else strategy.checkpoints.newest()
    expected = strategy.config.federation.scenarios if checkpoint is None else tuple(checkpoint.state["scenarios"])
    strategy.roll = RollCall(grid, strategy.config)
    strategy.begin(shake_hands(strategy.roll, strategy.config, expected))
    strategy.summary()
    result = FederationResult(scenarios=strategy.federation.scenarios, absent=strategy.federation.absent)
    if checkpoint is not None:
        go_on_from(checkpoint, strategy, result)
    else:
        if strategy.start_from:
            start_from_models(strategy, grid)
        keep_checkpoint(strategy, result)
    if not strategy.progress.measured:
        run_rounds(strategy, grid, rounds, result, evaluate)
        strategy.progress.measured = True
        keep_checkpoint(strategy, result)
    measure_selected(strategy, grid, result)
    result.arrays = pack_tensors(strategy.consensus())
    result.seconds = strategy.progress.seconds
    return result
