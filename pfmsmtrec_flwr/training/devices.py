"""Which processor a client computes on."""

from __future__ import annotations

import torch

from pfmsmtrec_flwr.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device that the configuration names; ``auto`` takes a GPU where there is one.

    Raises
    ------
    UserError
        A GPU is asked for and this process sees none, or not that one.
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
