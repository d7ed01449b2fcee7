"""Settings of a process that trains: its threads, and what it does with freed memory.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.training.process import prepare_process
>>> before = torch.get_num_threads()
>>> prepare_process(threads=1)
>>> torch.get_num_threads()
1
>>> torch.set_num_threads(before)
"""

from __future__ import annotations

import ctypes

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of ``mallopt``, from ``malloc.h`` of glibc."""
_KEPT_BYTES = 1 << 30


def prepare_process(threads: int) -> None:
    """Set the number of torch's threads, and keep freed memory in the process.

    A training step frees the tensors of megabytes that the next step needs again. By default glibc returns them to the
    system in between, and the system fills each page with zeros when it comes back, which takes up to a quarter of a
    step. So all memory comes from the heap, of which a gigabyte is kept. No value of a computation changes. A C
    library without ``mallopt`` stays as it is.

    Parameters
    ----------
    threads
        Number of threads of one operation.
    """
    torch.set_num_threads(threads)
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_MAX, 0)  # a threshold of size would end at 32 MiB
