"""Rounds, seconds and bytes until a validation AUC are those of the first round that reaches it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_scripts import load_script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "figures", load_script("figures"))
    return load_script("time_to_quality")


def write_run(folder: Path, method: str, aucs: list[float]) -> None:
    run = folder / "runs" / method / "seed1-0"
    run.mkdir(parents=True)
    lines = [
        {
            "round": number,
            "seconds": 2.0 * number,
            "up_bytes": 1_000_000,
            "down_bytes": 500_000,
            "macro": {"ctr": auc - 0.1, "cvr": auc + 0.1},
        }
        for number, auc in enumerate(aucs, start=1)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_the_first_round_with_the_auc_counts(script: ModuleType, tmp_path: Path) -> None:
    write_run(tmp_path, "pf-msmtrec", [0.60, 0.70, 0.65, 0.75])
    write_run(tmp_path, "fedper", [0.50, 0.60, 0.68])
    found = script.figures_of(script.courses_of(tmp_path, script.METHODS), None)
    values = {figure.what: figure.value for figure in found}
    assert values["validation AUC to reach"] == pytest.approx(0.68)  # the lower of the two best ones
    assert values["pf-msmtrec: rounds"] == 2
    assert values["fedper: rounds"] == 3
    assert values["fedper: traffic"] == pytest.approx(4.5)
    assert values["time of pf-msmtrec over fedper's"] == pytest.approx(4 / 6)


def test_an_auc_that_is_never_reached_is_infinitely_late(script: ModuleType, tmp_path: Path) -> None:
    write_run(tmp_path, "fedavg", [0.60])
    (run,) = script.courses_of(tmp_path, script.METHODS)["fedavg"]
    assert script.first_at(run, 0.9).seconds == math.inf
