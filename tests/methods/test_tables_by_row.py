"""Methods give the same bits whether their tables are moved by rows, as large ones are, or whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from federated import Tiny

from pfmsmtrec_flwr.training import optimizers

KEPT: dict[str, Any] = {"train__embedding_optimizer": "adagrad", "train__optimizer_state": "keep"}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("pf-msmtrec", {}),
        ("pf-msmtrec", {"federation__tables": "local", "train__ema_decay": 0.5}),
        ("fedprox", {"fedprox__mu": 30.0}),
        ("ditto", {}),
        ("mr-mtl", {}),
        ("apfl", {}),
        ("fedamp", {}),
        ("fedala", {}),
        ("fedrep", {}),
    ],
)
def test_a_run_by_rows_has_the_bits_of_one_of_whole_tables(
    method: str, settings: dict[str, Any], tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.config(method, **KEPT | settings)
    dense = tiny.train(config, tmp_path / "dense")
    monkeypatch.setattr(optimizers, "LARGE", 0)
    by_row = tiny.train(config, tmp_path / "by row")
    for name, model in dense.models.items():
        assert all(torch.equal(value, by_row.models[name][key]) for key, value in model.items()), name
    assert dense.result.evaluate_metrics_clientapp == by_row.result.evaluate_metrics_clientapp
