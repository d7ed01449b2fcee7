"""Tasks, fields and scenarios with names of PyTorch's and of our own, from a table to figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.validation import parse

NAMES = ["apply", "type", "train", "items", "mean", "macro", "scenario", "weight"]
ROWS = 400


@pytest.mark.usefixtures("home")
def test_a_run_with_names_that_others_use(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({f"label {name}": draw.integers(0, 2, ROWS) for name in NAMES})
    frame = frame.assign(where=draw.choice(["train", "mean"], ROWS), item=draw.integers(0, 9, ROWS), price=1.5)
    (tmp_path / "source").mkdir()
    frame.to_csv(tmp_path / "source" / "log.csv", index=False)
    item = {"column": "item", "hash": {"buckets": 8}}
    document = {
        "name": "test",
        "title": "Names",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log.csv"]},
        "scenario": {"column": "where", "values": {"train": "train", "mean": "mean"}},
        "tasks": {name: f"label {name}" for name in NAMES},
        "split": {"random": {"validation": 0.2, "test": 0.2}},
        "fields": {
            name: item | {"embedding": "federated" if place % 2 else "local"} for place, name in enumerate(NAMES)
        },
        "numeric": {"numeric": {"column": "price"}, "categorical": {"column": "price"}},
    }
    prepare(parse(DatasetSchema, document, "names.yaml"), tmp_path / "source", tmp_path / "data")
    settings = {"data": {"name": "test"}, "federation": {"rounds": 1, "reference": ["alone"], "draws": 0}}
    small = {"model": {"embedding_dim": 2, "experts": 2, "expert_layers": [4], "tower_layers": [3]}}
    config = parse(RunConfig, settings | small, "names")
    runs = run_inline(config, data=tmp_path / "data", output=tmp_path / "out", num_supernodes=2)
    for results in runs:
        assert sorted(results.scenarios) == ["mean", "train"]
        assert all(list(own.tasks) == NAMES for own in results.scenarios.values())
        assert list(results.macro) == NAMES
