"""PyTorch's optimisers without PyTorch's compiler, whose import takes a second of each process.

An optimiser imports the compiler when it is made and in each step, to tell it where to pause. Nothing is compiled here,
and a deployed client is a new process for every message.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.training.without_compiler import leave_compiler_out, plain_step
>>> leave_compiler_out()
>>> weight = torch.nn.Parameter(torch.tensor([1.0]))
>>> weight.grad = torch.tensor([2.0])
>>> plain_step(torch.optim.SGD([weight], lr=0.25))
>>> weight.tolist()
[0.5]
"""

from __future__ import annotations

import inspect

import torch
from torch.optim import Optimizer


def leave_compiler_out() -> None:
    """Let optimisers be made and cleared without it; a PyTorch with other names inside imports it as before."""
    for wrapper in (Optimizer.add_param_group, Optimizer.zero_grad):
        plain = inspect.unwrap(wrapper)
        plain.__dict__["__dynamo_disable"] = plain  # where the wrapper keeps what the compiler made of the function


@torch.no_grad()
def plain_step(optimizer: Optimizer) -> None:
    """Update the parameters as ``optimizer.step()`` does, to the bit, but call no hooks of steps."""
    inspect.unwrap(type(optimizer).step)(optimizer)
