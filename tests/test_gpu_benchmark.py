"""`benchmarks/gpu.py` says where there is no GPU, and its steps go through on a CPU."""

from __future__ import annotations

import sys
from argparse import Namespace
from types import ModuleType

import pytest
import torch
from benchmark_scripts import FOLDER, load_script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))  # for the import of `figures`
    return load_script("gpu")


def test_without_a_gpu_it_ends_with_one_line(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    script.main()
    assert capsys.readouterr().out == "no GPU here: nothing was measured\n"


def test_a_training_is_compared_with_itself_on_the_cpu(script: ModuleType) -> None:
    figures = {figure.what: figure for figure in script.training_figures(script.made_up_rows(300), torch.device("cpu"))}
    assert figures["parameters that differ in a second training"].value == 0
    assert figures["mean distance of probabilities from the CPU's, float32"].value == 0
    assert 0 < figures["mean distance of probabilities from the CPU's, bfloat16"].value < 0.01


@pytest.mark.slow
def test_all_of_it_goes_through(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        script, "WORLD", "{train_rows: {NL: 300, ES: 200}, validation_rows: 90, test_rows: 90, ctr: 0.3}"
    )
    figures = script.measure(Namespace(device="cpu", rows=600, rounds=1))
    assert len({figure.what for figure in figures}) == len(figures)
    assert not any(figure.misses_goal() for figure in figures)
