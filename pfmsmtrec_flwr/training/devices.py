"""The device on which a client computes.

Examples
--------
>>> from pfmsmtrec_flwr.training.devices import resolve_device
>>> resolve_device("cpu")
device(type='cpu')
"""

from __future__ import annotations

import os

import torch

from pfmsmtrec_flwr.errors import UserError

_ROWS_SHARE = 0.5
"""Share of a GPU's memory that rows may take; the other half is for the model and what a step computes."""


def resolve_device(name: str) -> torch.device:
    """Return the device that the configuration names; ``auto`` selects a GPU where there is one.

    A GPU has its number, which parts of PyTorch ask for.

    Raises
    ------
    UserError
        This process does not see the GPU that the name asks for.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device("cuda", 0) if name == "cuda" else torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"train.device is '{name}', but this process sees {torch.cuda.device_count()} CUDA devices: give "
            "the client a GPU share (--gpus-per-client 0.5), install a CUDA build of torch, or set train.device=cpu"
        )
    return device


def compute_repeatably(device: torch.device) -> None:
    """Let a GPU compute the same bits in every run, which takes slower sums into embedding tables and by index.

    It holds for this process from then on; a CPU computes the same bits anyway. Of an operation that has no such form
    PyTorch warns.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    # No operation here reads memory that was never written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def rows_fit(size: int, device: torch.device) -> bool:
    """Return whether rows fit on a GPU: in half of the memory there that is free and that this process may take.

    Parameters
    ----------
    size
        Size of the rows in bytes.
    device
        Device; on a CPU, where they are in main memory already, the answer is no.
    """
    if device.type != "cuda":
        return False
    free, total = torch.cuda.mem_get_info(device)
    return size <= _ROWS_SHARE * min(free, total * torch.cuda.get_per_process_memory_fraction(device))
