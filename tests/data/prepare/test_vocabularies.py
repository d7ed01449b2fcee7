"""Learning: vocabularies, moments and shares of the training rows; counts of all rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pfmsmtrec_flwr.data.encode.encoders import NO_HASH
from pfmsmtrec_flwr.data.prepare import scenario_rows
from pfmsmtrec_flwr.data.prepare.columns import UNKNOWN
from pfmsmtrec_flwr.data.prepare.scenario_rows import RowsLayout, ScenarioRows
from pfmsmtrec_flwr.data.prepare.spool import SpoolWriter
from pfmsmtrec_flwr.data.prepare.vocabularies import Learned, learn
from pfmsmtrec_flwr.data.read.blocks import ignore
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.validation import parse

DOCUMENT: dict[str, Any] = {
    "name": "shop",
    "title": "Shop",
    "licence": "ours",
    "url": "none",
    "table": {"files": ["log.csv"]},
    "scenario": {"names": ["NL"]},
    "tasks": {"ctr": "click", "like": "like"},
    "split": {"random": {"validation": 0.1, "test": 0.1}},
    "fields": {
        "user": {"vocabulary": {"min_count": 2}, "embedding": "local"},
        "kind": {"values": ["a", "b"], "embedding": "federated"},
        "item": {"hash": {"buckets": 4}, "embedding": "federated"},
        "hour": {"identity": {"size": 24}, "embedding": "federated"},
    },
    "numeric": {"price": {}, "weight": {}},
}
SCHEMA = parse(DatasetSchema, DOCUMENT, "shop.yaml")
LAYOUT = RowsLayout.of(SCHEMA, "NL")

ROWS: dict[str, Any] = {
    "split": np.array([0, 0, 0, 0, 1, 1, 2], dtype=np.int8),
    "labels": np.array([[1, 0], [1, 0], [0, 0], [1, 1], [1, 0], [0, 1], [1, 1]], dtype=np.uint8),
    "rows": np.array([[1, 5], [UNKNOWN, 0], [2, 0], [0, 24], [UNKNOWN, 1], [1, 1], [1, UNKNOWN]], dtype=np.int32),
    "hashes": np.array([[9, 1], [8, 5], [8, 2], [9, NO_HASH], [7, 7], [7, 7], [7, 7]], dtype=np.uint64),
    "numbers": np.array([[1, 5], [3, 5], [np.nan, 5], [5, np.nan], [99, 9], [99, 9], [99, 9]], dtype=np.float64),
}


def learned(folder: Path, rows: dict[str, Any] = ROWS, reported: list[int] | None = None) -> Learned:
    with SpoolWriter(folder / "rows", LAYOUT.arrays()) as writer:
        writer.append(rows)
        spool = writer.finish()
    return learn(SCHEMA, ScenarioRows("NL", LAYOUT, (spool,)), ignore if reported is None else reported.append)


def test_layout() -> None:
    assert RowsLayout(("ctr", "like"), ("kind", "hour"), ("user", "item"), ("price", "weight"), users=False) == LAYOUT
    places = [LAYOUT.place_of(name) for name in ("item", "kind", "weight")]
    assert places == [
        ("hashes", slice(1, 2)),
        ("rows", slice(0, 1)),
        ("numbers", slice(1, 2)),
    ]
    with pytest.raises(KeyError):
        LAYOUT.place_of("ctr")


def test_training_rows_alone(tmp_path: Path) -> None:
    found = learned(tmp_path)
    assert {name: encoder.size for name, encoder in found.encoders.items()} == {"user": 3, "item": 5}
    hashes = np.array([8, 9, 7, NO_HASH], dtype=np.uint64)
    assert found.encoders["user"].rows(hashes).tolist() == [1, 2, 0, 0]
    assert found.encoders["item"].rows(hashes).tolist() == [1, 2, 4, 0]
    assert found.standardiser.mean.tolist() == [3.0, 5.0]
    np.testing.assert_allclose(found.standardiser.deviation, [np.sqrt(8 / 3), 0.0])
    assert found.encodings == {
        "kind": {"unknown": 0.25},
        "item": {"values": 3, "colliding": pytest.approx(2 / 3)},  # 1 and 5 have one bucket
        "hour": {"unknown": 0.0},
    }


def test_counts_of_every_split(tmp_path: Path) -> None:
    found = learned(tmp_path)
    assert found.rows.tolist() == [4, 2, 1]
    assert found.positives.tolist() == [[3, 1], [1, 1], [1, 1]]


def test_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learned(tmp_path / "a")
    monkeypatch.setattr(scenario_rows, "BLOCK_ROWS", 2)
    reported: list[int] = []
    parts = learned(tmp_path / "b", reported=reported)
    assert reported == [2, 2, 2, 1]
    assert parts.encodings == whole.encodings
    assert parts.rows.tolist() == whole.rows.tolist()
    assert parts.positives.tolist() == whole.positives.tolist()
    hashes = np.arange(12, dtype=np.uint64)
    assert parts.encoders["user"].rows(hashes).tolist() == whole.encoders["user"].rows(hashes).tolist()
    np.testing.assert_array_equal(parts.standardiser.mean, whole.standardiser.mean)


@pytest.mark.parametrize("rows", [0, 3])
def test_without_training_rows(tmp_path: Path, rows: int) -> None:
    found = learned(tmp_path, {name: values[len(ROWS["split"]) - rows :] for name, values in ROWS.items()})
    assert found.rows.tolist() == ([0, 2, 1] if rows else [0, 0, 0])
    assert found.encoders["user"].size == 1
    assert found.encodings["item"] == {"values": 0, "colliding": 0.0}
    assert found.encodings["kind"] == {"unknown": 0.0}
