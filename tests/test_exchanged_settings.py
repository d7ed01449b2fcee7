"""`benchmarks/exchanged_settings.py` gives all methods the common settings of the best others, and keeps the best."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from benchmark_scripts import load_script

from pfmsmtrec_flwr.config import Settings

TEXT = """methods:
  "alone":  # validation AUC 0.6000, best of 2
    train.lr: 0.1
  "fedprox":  # validation AUC 0.7000, best of 2
    train.lr: 0.2
    train.optimizer_state: reset
    mu: 3.0
  "pooled-mmoe":  # validation AUC 0.8000, best of 2
    train.lr: 0.3
    train.optimizer_state: keep
"""


@pytest.fixture
def script() -> ModuleType:
    return load_script("exchanged_settings")


def test_candidates_take_common_settings_and_keep_own_ones(script: ModuleType) -> None:
    tuned: dict[str, Settings] = {
        "pooled-mmoe": {"train.lr": 0.3},
        "fedprox": {"train.lr": 0.2, "train.optimizer_state": "reset", "mu": 3.0},
    }
    found = {(each.method, each.source): each.settings for each in script.candidates_of(tuned, list(tuned))}
    assert found == {
        ("pooled-mmoe", "fedprox-tuned"): {"train.lr": 0.2},  # a pooled model has no rounds to keep a state over
        ("fedprox", "pooled-mmoe-tuned"): {"train.lr": 0.3, "mu": 3.0},
        ("fedprox", "pooled-mmoe-start"): {"train.lr": 0.3},
    }


def test_the_best_settings_of_each_method_are_kept(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def score(_: object, candidate: object, world: str) -> float:
        assert isinstance(candidate, script.Candidate)
        asked.append((candidate.method, candidate.source, world))
        return float(candidate.settings["train.lr"]) - (0.01 if world == "2" else 0.0)

    monkeypatch.setattr(script.Bench, "score", score)
    best = script.exchanged(script.Bench("synthetic", tmp_path, ["1", "2"], tmp_path), TEXT, jobs=1)
    assert {method: (round(auc, 3), each.source) for method, (auc, each) in best.items()} == {
        "alone": (0.295, "pooled-mmoe-tuned"),
        "fedprox": (0.295, "pooled-mmoe-tuned"),
        "pooled-mmoe": (0.295, "tuned"),
    }
    assert best["fedprox"][1].settings == {"train.lr": 0.3, "train.optimizer_state": "keep", "mu": 3.0}
    assert ("pooled-mmoe", "alone-tuned", "1") in asked
    assert ("pooled-mmoe", "alone-tuned", "2") not in asked  # 0.1 is far below 0.3 in the first world
