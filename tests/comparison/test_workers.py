from __future__ import annotations

import os
import signal
from multiprocessing import active_children

import pytest

from pfmsmtrec_flwr.comparison.workers import workers


def test_workers_compute_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with workers(1) as executor:
        threads = [executor.submit(os.getenv, name).result() for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
        ignores = executor.submit(signal.getsignal, signal.SIGINT).result()
    assert threads == ["1", "1"]
    assert ignores is signal.SIG_IGN
    assert os.environ["OMP_NUM_THREADS"] == "4"
    assert "MKL_NUM_THREADS" not in os.environ
    assert not active_children()


def test_an_interrupt_ends_what_runs() -> None:
    with pytest.raises(KeyboardInterrupt), workers(1) as executor:
        worker = executor.submit(os.getpid).result()
        executor.submit(signal.pause)  # would last for ever
        raise KeyboardInterrupt
    assert not active_children()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
