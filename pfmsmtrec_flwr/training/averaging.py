"""The mean of a model over the rounds."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def exponential_mean(
    mean: Mapping[str, Tensor], state: Mapping[str, Tensor], memory: float, rounds: int
) -> dict[str, Tensor]:
    """Return the exponential mean of a model's states with one more of them.

    ``mean <- m * mean + (1 - m) * state`` with ``m = min(memory, (rounds - 1) / rounds)``, so that it is the plain mean
    to begin with. What is not a floating point number is the last state's.

    Parameters
    ----------
    mean
        Of the states so far, by name; empty before the first.
    state
        The one to be added, of the same names and shapes.
    memory
        Share of the old mean, in [0, 1).
    rounds
        Number of states, this one included.

    References
    ----------
    Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992; over
    checkpoints: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018.
    """
    share = min(memory, (rounds - 1) / rounds)
    return {
        name: torch.lerp(value, mean[name], share) if name in mean and value.is_floating_point() else value.clone()
        for name, value in state.items()
    }
