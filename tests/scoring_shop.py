"""A made-up shop in two countries: its log, its schema, and small models trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.methods import find_method
from pfmsmtrec_flwr.validation import parse

TASKS = ["ctr", "ctcvr"]
TEST_DAY = "2024-03-04"
SCHEMA: dict[str, Any] = {
    "name": "shop",
    "title": "Shop",
    "licence": "ours",
    "url": "none",
    "table": {"files": ["log.csv"]},
    "scenario": {"column": "country", "values": {"NL": "NL", "DE": "DE"}, "others": "drop"},
    "tasks": {"ctr": "click", "ctcvr": "buy"},
    "users": "user",
    "split": {"by_date": {"column": "day", "validation": ["2024-03-03"], "test": [TEST_DAY]}},
    "times": {"shown": {"form": "iso"}},
    "fields": {
        "user": {"vocabulary": {"min_count": 2}, "embedding": "local"},
        "item": {"hash": {"buckets": 50}, "embedding": "federated"},
        "hour": {"column": "time", "transform": "hour", "identity": {"size": 24}, "embedding": "federated"},
        "unsqueeze": {"column": "shown", "transform": "weekday", "identity": {"size": 8}, "embedding": "federated"},
        "age": {"bands": [20, 40.5], "missing": [-1], "embedding": "federated"},
        "kind": {"values": ["toy", "book"], "embedding": "federated", "scenarios": ["NL"]},
        "tags": {"several": {"separator": "|", "most": 2}, "vocabulary": {}, "embedding": "local"},
    },
    "numeric": {"price": {"transform": "log1p", "missing": [-1]}, "weight": {"clip": [-1, 1]}},
}


def impressions(rows: int = 800, seed: int = 0) -> pd.DataFrame:
    """A log with missing values, rare users and rows of a third country."""
    draw = np.random.default_rng(seed)
    click = draw.integers(0, 2, rows)
    frame = pd.DataFrame(
        {
            "row": [f"r{number}" for number in range(rows)],
            "country": draw.choice(["NL", "DE", "US"], rows, p=[0.5, 0.4, 0.1]),
            "day": draw.choice(["2024-03-01", "2024-03-02", "2024-03-03", TEST_DAY], rows),
            "user": draw.integers(0, 120, rows),
            "item": draw.integers(0, 300, rows),
            "time": draw.integers(0, 24, rows) * 100 + draw.integers(0, 60, rows),
            "age": draw.choice([-1, 12, 30, 41, 70], rows),
            "kind": draw.choice(["toy", "book", "other"], rows),
            "tags": draw.choice(["a|b", "b", "c|a|b", ""], rows),
            "price": np.round(draw.gamma(2.0, 10.0, rows), 3),
            "weight": np.round(draw.normal(0.3, 1.0, rows), 3),
            "click": click,
            "buy": click * draw.integers(0, 2, rows),
        }
    )
    frame["shown"] = frame.day + " " + draw.choice(["00:00:01", "23:59:59"], rows)
    frame.loc[draw.random(rows) < 0.1, "price"] = -1
    frame.loc[draw.random(rows) < 0.1, "weight"] = np.nan
    return frame


def shop_schema(**changes: Any) -> DatasetSchema:
    return parse(DatasetSchema, SCHEMA | changes, "shop.yaml")


def config(method: str, *, dataset: str = "shop", model: dict[str, Any] | None = None) -> RunConfig:
    document: dict[str, Any] = {
        "method": method,
        "data": {"name": dataset},
        "model": {"embedding_dim": 2, "experts": 2, "expert_layers": [6, 4], "tower_layers": [3]} | (model or {}),
        "train": {"batch_size": 32, "lr": 0.05, "device": "cpu"},
        "federation": {"rounds": 1, "patience": 0, "draws": 0},
    }
    return find_method(method).configure(parse(RunConfig, document, "test"))


def trained_shop(folder: Path, method: str = "alone", *, model: dict[str, Any] | None = None) -> Path:
    """Train on the shop, which is prepared if it is not; return the folder of the run."""
    if not (folder / "source").exists():
        (folder / "source").mkdir(parents=True)
        impressions().to_csv(folder / "source" / "log.csv", index=False)
        prepare(shop_schema(), folder / "source", folder / "data", progress=False)
    output = folder / f"{method}-{len(list(folder.iterdir()))}"
    run_method(config(method, model=model), data=folder / "data", output=output)
    return output
