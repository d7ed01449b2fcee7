"""Figures of benchmarks are kept, compared with what is kept, and judged by their direction."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmark_scripts import load_script


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    script = load_script("figures")
    monkeypatch.setattr(script, "KEPT", tmp_path / "kept")
    return script


def measured(figures: Sequence[Any]) -> Callable[[Namespace], Sequence[Any]]:
    return lambda _: figures


@pytest.mark.parametrize(
    ("better", "value", "worse"),
    [("more", 1.61, False), ("more", 1.59, True), ("less", 2.49, False), ("less", 2.51, True), ("", 99.0, False)],
)
def test_a_figure_is_worse_beyond_a_fifth_in_its_direction(
    figures: ModuleType, better: str, value: float, worse: bool
) -> None:
    assert figures.Figure("rate", value, better=better).is_worse_than(2.0) is worse


def test_seconds_of_two_machines_are_not_compared(figures: ModuleType) -> None:
    assert not figures.Figure("time", 9.0, "s", better="less").is_worse_than(2.0)


def test_kept_figures_come_back_beside_the_measured_ones(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = [figures.Figure("rate", 2.0, better="more", goal=2.2), figures.Figure("step", 12.345, "ms")]
    monkeypatch.setattr(sys, "argv", ["some.py", "--keep"])
    figures.show("some", measured(first), None)
    assert figures.kept_figures("some") == {"rate": 2.0, "step": 12.345}
    capsys.readouterr()

    monkeypatch.setattr(sys, "argv", ["some.py"])
    figures.show("some", measured([figures.Figure("rate", 2.5, better="more", goal=2.2)]), None)
    assert "| rate | 2.5 × | 2 × | ≥ 2.2 |" in capsys.readouterr().out

    with pytest.raises(SystemExit) as ended:
        figures.show("some", measured([figures.Figure("rate", 1.5, better="more", goal=2.2)]), None)
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "| rate | 1.5 × | 2 × | ≥ 2.2 (missed) |" in out
    assert "slower than 0.8 of what is kept: rate: 1.5, kept 2" in out


def test_nothing_kept_is_nothing_to_compare_with(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["some.py"])
    figures.show("some", measured([figures.Figure("seconds", 3.0, "s", better="less", goal=5.0)]), None)
    assert "| seconds | 3 s |  | ≤ 5 |" in capsys.readouterr().out
