"""Validation rows of one class: the log loss chooses the round, and that is said."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pfmsmtrec_flwr.data.prepare.pipeline import prepare
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.results.rounds import read_metrics
from pfmsmtrec_flwr.validation import parse

SAID = "no validation AUC is defined (one class only), so the round is chosen by validation log loss"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    day = np.repeat([20240101, 20240102, 20240103], [120, 40, 40])
    frame = pd.DataFrame(
        {"day": day, "item": draw.integers(0, 30, 200), "user": "", "page": draw.choice(["a", "b"], 200)}
    )
    frame["clicked"] = (draw.random(200) < 0.3) & (day != 20240102)
    (tmp_path / "source").mkdir()
    frame.astype({"clicked": int}).to_csv(tmp_path / "source" / "log.csv", index=False)
    document = {
        "name": "shop",
        "title": "Shop",
        "licence": "ours",
        "url": "none",
        "table": {"files": ["log.csv"]},
        "scenario": {"column": "page", "values": {"a": "A", "b": "B"}},
        "tasks": {"clicked": "clicked"},
        "users": "user",
        "split": {"by_date": {"column": "day", "last_days": {}}},
        "fields": {"item": {"hash": {"buckets": 8}, "embedding": "federated"}},
    }
    prepare(parse(DatasetSchema, document, "shop.yaml"), tmp_path / "source", tmp_path / "data")
    (tmp_path / "conf.yaml").write_text("data: {name: shop}\ntrain: {batch_size: 16}\nfederation: {rounds: 8}\n")
    return tmp_path / "data"


class Messages(logging.Handler):
    """Handler that keeps the messages."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    handler = Messages()
    logger.addHandler(handler)
    yield handler.kept
    logger.removeHandler(handler)


@pytest.mark.parametrize("method", ["fedavg", "pooled-mmoe"])
@pytest.mark.parametrize("selection", ["scenario", "macro"])
def test_the_log_loss_chooses(data: Path, method: str, selection: str, said: list[str]) -> None:
    settings = [f"method={method}", f"federation.selection={selection}", "federation.patience=2"]
    config = load_config(str(data.parent / "conf.yaml"), overrides=settings)
    results = run_method(config, data=data, output=data.parent / "out")
    assert said.count(f"A, B: {SAID}") == 1
    rounds = read_metrics(data.parent / "out")
    losses = np.array(
        [[entry.scenarios[name].validation["clicked"].logloss for name in results.scenarios] for entry in rounds],
        dtype=float,
    )
    if selection == "macro":
        losses[:] = losses.mean(axis=1, keepdims=True)
    best = dict(zip(results.scenarios, 1 + losses.argmin(axis=0), strict=True))
    for name, own in results.scenarios.items():
        assert own.selected_round == best[name]
        assert own.note == SAID
        assert (own.tasks["clicked"].gauc, own.tasks["clicked"].gauc_coverage) == (None, 0.0)  # no row has a user
    assert len(rounds) > 2
