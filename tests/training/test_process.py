from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, torch
from pfmsmtrec_flwr.training.process import prepare_process

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        tensors = [torch.empty(1 << 20).fill_(1.0) for _ in range(4)]  # 16 MB
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(2)
ctypes.CDLL(None).mallopt(-3, 1 << 17)  # as glibc starts; it may have raised the limit by now
before = faults()
prepare_process(1)
faults()
print(before, faults(), torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_memory_that_a_step_frees_stays_in_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=120)
    before, after, threads = map(int, ended.stdout.split())
    assert before > 1000 > 100 > after
    assert threads == 1
