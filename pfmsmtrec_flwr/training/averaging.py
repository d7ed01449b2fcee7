"""The mean of a model over the rounds.

Examples
--------
The mean is a plain one as long as it spans few rounds.

>>> import torch
>>> from pfmsmtrec_flwr.training.averaging import exponential_mean
>>> mean = {}
>>> for number, value in enumerate([2.0, 4.0, 9.0], start=1):
...     mean = exponential_mean(mean, {"weight": torch.tensor([value])}, memory=0.9, rounds=number)
>>> round(float(mean["weight"]), 3)
5.0
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def exponential_mean(
    mean: Mapping[str, Tensor], state: Mapping[str, Tensor], memory: float, rounds: int
) -> dict[str, Tensor]:
    """Return the exponential mean of a model's states, updated with one more state.

    ``mean <- m * mean + (1 - m) * state`` with ``m = min(memory, (rounds - 1) / rounds)``, which makes it the plain
    mean in the first rounds. Tensors of integers are copied from the last state.

    Parameters
    ----------
    mean
        Mean of the states so far, by name; empty before the first state.
    state
        State to add, with the same names and shapes.
    memory
        Share of the old mean, in [0, 1).
    rounds
        Number of states, including this one.

    References
    ----------
    Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992. Over
    checkpoints: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018.
    """
    share = min(memory, (rounds - 1) / rounds)
    return {
        name: torch.lerp(value, mean[name], share) if name in mean and value.is_floating_point() else value.clone()
        for name, value in state.items()
    }
