"""The device on which a client computes.

Examples
--------
>>> from pfmsmtrec_flwr.training.devices import resolve_device
>>> resolve_device("cpu")
device(type='cpu')
"""

from __future__ import annotations

import torch

from pfmsmtrec_flwr.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device that the configuration names; ``auto`` selects a GPU where there is one.

    Raises
    ------
    UserError
        This process does not see the GPU that the name asks for.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"train.device is '{name}', but this process sees {torch.cuda.device_count()} CUDA devices: give "
            "the client a GPU share (--gpus-per-client 0.5), install a CUDA build of torch, or set train.device=cpu"
        )
    return device
