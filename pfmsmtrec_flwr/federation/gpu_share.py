"""The share of a GPU that a simulated client may fill with memory.

Ray hands out shares of a GPU, and does not hold anyone to them: a client that takes more than its share ends the others
that run beside it.
"""

from __future__ import annotations

import sys

import torch


def bound_gpu_memory(device: torch.device) -> None:
    """Bound the GPU memory of this process to its share; beyond it, PyTorch raises an error in this process alone.

    Parameters
    ----------
    device
        Device of the client. A CPU has no bound, nor has a client that takes whole GPUs.
    """
    if device.type == "cuda" and (share := assigned_share()) < 1:
        torch.cuda.set_per_process_memory_fraction(share, device)


def give_back_gpu_memory() -> None:
    """Give the GPU memory that PyTorch keeps for later back to the clients beside this one; nothing without a GPU."""
    torch.cuda.empty_cache()


def assigned_share() -> float:
    """Return the number of GPUs that Ray has assigned to this actor, 0.25 for a quarter of one; 1 outside of Ray."""
    ray = sys.modules.get("ray")  # only a process of a simulation has loaded it
    if ray is None or not ray.is_initialized() or (context := ray.get_runtime_context()).get_actor_id() is None:
        return 1.0
    return float(context.get_assigned_resources().get("GPU", 1.0))
