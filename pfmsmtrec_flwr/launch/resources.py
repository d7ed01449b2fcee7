"""Resources of a simulation: SuperNodes, and the CPUs and GPUs of one client."""

from __future__ import annotations

import math
import os

from pfmsmtrec_flwr.errors import UserError

DEFAULT_SUPERNODES = 2


def federation_config(num_supernodes: int | None, cpus_per_client: float | None, gpus_per_client: float | None) -> str:
    """Return the value of ``flwr run --federation-config``.

    Raises
    ------
    UserError
        There is no SuperNode, the number of CPUs is not whole, or the share of a GPU is negative.

    Examples
    --------
    >>> federation_config(4, 1, 0.25)
    'num-supernodes=4 client-resources-num-cpus=1 client-resources-num-gpus=0.25'
    """
    nodes = DEFAULT_SUPERNODES if num_supernodes is None else num_supernodes
    cpus = 1.0 if cpus_per_client is None else cpus_per_client
    if nodes < 1:
        raise UserError(f"got {nodes} SuperNodes, expected at least 1")
    if cpus < 1 or cpus != int(cpus):
        raise UserError(f"got {cpus:g} CPUs per client, expected a whole number of at least 1")
    gpus = gpu_share(nodes, int(cpus)) if gpus_per_client is None else gpus_per_client
    if not math.isfinite(gpus) or gpus < 0:
        raise UserError(f"got {gpus:g} GPUs per client, expected 0 or more, such as 0.25")
    parts = [f"client-resources-num-cpus={int(cpus)}", f"client-resources-num-gpus={gpus!r}"]
    if num_supernodes is not None:
        parts.insert(0, f"num-supernodes={num_supernodes}")
    return " ".join(parts)


def check_resources(cpus_per_client: float, gpus_per_client: float | None) -> None:
    """Refuse what this machine does not have, before anything is started.

    Parameters
    ----------
    cpus_per_client, gpus_per_client
        CPUs and share of a GPU that a client takes; None stands for an equal share of the GPUs that there are.

    Raises
    ------
    UserError
        A client takes more CPUs or GPUs than there are.
    """
    cpus = os.cpu_count() or 1
    if cpus_per_client > cpus:
        raise UserError(f"got {cpus_per_client:g} CPUs per client, expected at most {cpus}, which this machine has")
    if gpus_per_client and gpus_per_client > (gpus := _visible_gpus()):
        raise UserError(
            f"got {gpus_per_client:g} GPUs per client, expected at most {gpus}, which PyTorch sees here: "
            "leave --gpus-per-client out, or install a CUDA build of torch"
        )


def gpu_share(num_supernodes: int, cpus_per_client: int, *, gpus: int | None = None, cpus: int | None = None) -> float:
    """Return the share of a GPU with which all clients that run at once fit; 0 without a GPU.

    Parameters
    ----------
    num_supernodes
        Number of simulated SuperNodes.
    cpus_per_client
        CPUs that a working client takes.
    gpus, cpus
        GPUs and CPUs of the machine; None stands for those that are visible.

    Examples
    --------
    >>> gpu_share(4, 1, gpus=1, cpus=16), gpu_share(3, 1, gpus=2, cpus=16), gpu_share(4, 1, gpus=0, cpus=16)
    (0.25, 0.5, 0.0)
    """
    gpus = _visible_gpus() if gpus is None else gpus
    cpus = (os.cpu_count() or 1) if cpus is None else cpus
    if gpus == 0:
        return 0.0
    at_once = max(1, min(num_supernodes, cpus // cpus_per_client))
    # The inverse of the number of clients per GPU. Ray counts shares in steps of 1e-4, so round down.
    return math.floor(1e4 / math.ceil(at_once / gpus)) / 1e4


def _visible_gpus() -> int:
    import torch  # takes seconds, and only this function needs it

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
