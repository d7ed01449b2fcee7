"""`benchmarks/rounds.py` takes the time of steps within rounds, and puts the functions back."""

from __future__ import annotations

import argparse
import subprocess
import sys
from types import ModuleType

import pytest
from benchmark_scripts import FOLDER, load_script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))  # for the import of `figures`
    return load_script("rounds")


def test_only_steps_within_rounds_are_timed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = argparse.Namespace(step=lambda: "done")
    owner.rounds = lambda: [owner.step(), owner.step()]
    step, rounds = owner.step, owner.rounds
    monkeypatch.setattr(script, "STEPS", ((owner, "step", "training"), (owner, "rounds", "rounds")))
    with script.timed_steps() as spent:
        assert owner.step() == "done"
        assert dict(spent) == {}
        assert owner.rounds() == ["done", "done"]
    assert sorted(spent) == ["rounds", "training"]
    assert spent["training"] <= spent["rounds"]
    assert (owner.step, owner.rounds) == (step, rounds)


def test_all_steps_are_functions_of_the_package(script: ModuleType) -> None:
    assert all(callable(getattr(owner, name)) for owner, name, _ in script.STEPS)


ORPHANS = """
import subprocess, sys, time
from rounds import family_seconds
busy = "import time\\nwhile time.process_time() < 0.5: pass"
orphan = f"{sys.executable} -c '{busy}' &"
print(family_seconds(lambda: (subprocess.run(["sh", "-c", orphan]), time.sleep(5))))
print(family_seconds(lambda: time.sleep(0.5)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_nobody_waited_for_counts_once() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHANS], cwd=FOLDER, capture_output=True, text=True, check=True)
    first, second = map(float, done.stdout.split())
    assert 0.3 < first < 3
    assert second < 0.1
