"""The pins of `benchmarks/pins.py`: two runs on one machine give the same, and what differs is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import numpy as np
import pytest
from benchmark_scripts import load_script
from compared import Direct
from safetensors.numpy import save_file

COMPUTED_TWICE = ["method:pf-msmtrec", "method:pooled-mmoe", "turned:plain-bottom-up"]
"""Pins of a federated method, of a central one, and of parts that are off by default."""


@pytest.fixture(scope="module")
def pins() -> ModuleType:
    return load_script("pins")


@pytest.mark.slow
def test_two_runs_on_one_machine_are_equal_to_the_bit(
    pins: ModuleType,
    pfmsmtrec: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = pins.measure(COMPUTED_TWICE, jobs=2)

    def call_here(*words: str, cwd: Path) -> CompletedProcess[str]:
        """Run a command in this process, which has done other things before."""
        monkeypatch.chdir(cwd)
        return CompletedProcess(words, pfmsmtrec(*words), *capsys.readouterr())

    monkeypatch.setattr(pins, "call", call_here)
    monkeypatch.setattr(pins, "ThreadPoolExecutor", lambda _: Direct())
    second = pins.measure(COMPUTED_TWICE, jobs=1)
    assert {name for name in first if name in COMPUTED_TWICE} == set(COMPUTED_TWICE)
    sizes = {name: len(first[name]["parameters"]) for name in COMPUTED_TWICE}
    assert sizes == {"method:pf-msmtrec": 3, "method:pooled-mmoe": 3, "turned:plain-bottom-up": 3}
    assert all(first[name]["results"]["macro"] and first[name]["rounds"] for name in COMPUTED_TWICE)
    assert pins.report(first, second) == 0
    assert "differs" not in capsys.readouterr().out
    assert first["method:pf-msmtrec"]["parameters"] != first["turned:plain-bottom-up"]["parameters"]


def test_a_difference_is_named_and_fails_the_check(pins: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    known = {"a": {"results": {"auc": [0.5, 0.6]}}, "b": {"results": 1}}
    found = {"a": {"results": {"auc": [0.5, 0.7]}}, "b": {"results": 1}}
    assert pins.report(known, found) == 1
    printed = capsys.readouterr().out
    assert ".results.auc[1]: 0.6 -> 0.7" in printed
    assert "1 of 2 pins hold" in printed


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ({"x": 1}, {}, '.x: 1 -> "nothing"'),
        ({}, {"x": 1}, '.x: "nothing" -> 1'),
        ([1], [1, 2], ": [1] -> [1, 2]"),
        (None, 0.5, ": null -> 0.5"),
    ],
)
def test_what_is_missing_differs(pins: ModuleType, old: object, new: object, line: str) -> None:
    assert list(pins.differing(old, new)) == [line]


def test_times_and_names_of_settings_do_not_count(pins: ModuleType) -> None:
    document = {"seconds": {"total": 3.1}, "auc": 0.7, "runs": [{"folder": "x", "settings": {"train.lr": 0.1}}]}
    assert pins.plain(document) == {"auc": 0.7, "runs": [{"settings": [0.1]}]}


def test_a_digest_is_of_names_and_values_not_of_the_file(pins: ModuleType, tmp_path: Path) -> None:
    one, other = np.zeros(2, np.float32), np.ones(2, np.float32)
    for name, tensors in {
        "a": {"x": one, "y": other},
        "b": {"y": other, "x": one},
        "c": {"x": other, "y": one},
    }.items():
        save_file(tensors, tmp_path / name, metadata={"written": name})
    assert pins.digest(tmp_path / "a") == pins.digest(tmp_path / "b") != pins.digest(tmp_path / "c")
